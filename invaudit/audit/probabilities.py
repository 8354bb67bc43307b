"""The audit of a model behind an interface, from the probabilities that it answers: membership alone.

Nothing can be reconstructed from answers, and what was not tested is said to be so. The folder is that of the audit of
a model, with the parts that there are.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invaudit.audit.attack_control import train_known_leak
from invaudit.audit.method import membership_figures
from invaudit.audit.model_audit import ModelAuditResult
from invaudit.audit.model_settings import LEAST_REFERENCES, POOL
from invaudit.audit.model_tables import READINESS_RECORD, record_name, repeat_tests, write_audit_tables
from invaudit.audit.planning import MEMBERSHIP, REPEATS
from invaudit.audit.pools import coin_pool
from invaudit.audit.probability_files import Answers, read_answers
from invaudit.audit.references import References, reference_scores
from invaudit.audit.repeats import REPEATS_OF_A_FAMILY
from invaudit.audit.store import write_array_files
from invaudit.audit.target import describe_target
from invaudit.data import load, seeded_rng
from invaudit.leakage import RECIPES
from invaudit.leakage.membership_signals import logit_margin, loss
from invaudit.models import limit_threads
from invaudit.records import (
    LEAKAGE_RUN,
    AuditRecord,
    BlindResult,
    MembershipResult,
    PoolRecord,
    ReadinessRecord,
    ReadinessRow,
    TargetDescription,
)
from invaudit.records.folder import write_scores_record
from invaudit.records.model_audit import Accuracy, PlannedStage, PlanRecord, PreflightRecord
from invaudit.records.model_audit_run import PLAN_RECORD
from invaudit.records.names import ATTACK_CONTROL, ID_TEST, OURS
from invaudit.report import audit_page, audit_record
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError
from invaudit.runtime.files import npz_bytes, write_json
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child_seed
from invaudit.runtime.settings import Name, OneSeed, Settings
from invaudit.stats import ALPHA, Design, Estimate, Observational, counted_share, difference_of_shares

KNOWN_MEMBERS = 40
"""Members of the attack control, a network of ours on digits: there is no model whose family it could be of."""
NO_IMAGES = "there are no images: whether members and controls differ by themselves was not tested"
NO_MODEL = "the model itself was not at hand, only what it answers"
Scores = NDArray[np.float64]


class ProbabilityAuditSettings(Settings):
    """What is audited of a model behind an interface, and how."""

    name: Name = "target"
    """Name of the model in tables."""
    members: Path
    """File of what it answers to images that it was trained on: CSV with the columns label, p0, p1, ..."""
    controls: Path
    """The same for images of the same source that it was not trained on."""
    references: tuple[Path, ...] = ()
    """The same of each reference model, that was trained on none of them: rows of members, then those of controls."""
    drawn_at_random: bool = False
    """Whether members and controls were drawn at random from one pool of images, e.g. by a random split: without
    images only that can rule out that they differ by themselves, and without it nothing is concluded."""
    metrics: dict[str, str] = Field(default_factory=dict, max_length=0)
    """None: there is nothing to compare."""
    draws: int = Field(default=9_999, ge=99, le=10_000_000)
    """Relabellings of a test."""
    alpha: float = Field(default=ALPHA, gt=0, lt=1)
    """Level of the verdict over the family of scores."""
    claim_rate: float = Field(default=0.1, gt=0, lt=1)
    """False-discovery rate of the claims that single images were trained on."""
    seeds: OneSeed = (0,)

    def problems(self) -> Iterator[str]:
        """Yield too few reference models."""
        if 0 < len(self.references) < LEAST_REFERENCES:
            yield f"{len(self.references)} reference model, expected at least {LEAST_REFERENCES}; give more"


class _Read(NamedTuple):
    """All files, read and checked against each other."""

    members: Answers
    controls: Answers
    references: list[Answers]

    @property
    def hashes(self) -> dict[str, str]:
        """Content hash of each file by its name."""
        hashes = {"members": self.members.hash, "controls": self.controls.hash}
        return hashes | {f"reference-{number}": one.hash for number, one in enumerate(self.references)}


def audit_probabilities(settings: ProbabilityAuditSettings, out: Path, *, resume: bool = False) -> ModelAuditResult:
    """Audit a model from its answers and write the folder of the audit.

    Args:
        settings: The files, and how they are judged.
        out: The folder, as of ``audit_model``.
        resume: Continue an audit that the folder holds.

    Raises:
        InputError: Files that are missing or do not fit; nothing is written then.
    """
    read = _read(settings)
    opened = RunFolder.open(out, settings, kind=LEAKAGE_RUN, resume=resume, inputs=tuple(read.hashes.values()))
    with limit_threads(1), opened as folder:
        if folder.record(f"stage-{MEMBERSHIP}") is None:
            notice("scoring membership")
            start = time.perf_counter()
            _score(settings, read, folder)
            folder.finish(f"stage-{MEMBERSHIP}", {"seconds": time.perf_counter() - start})
        if folder.record(f"stage-{REPEATS}") is None:
            notice("repeating the tests on other draws")
            start = time.perf_counter()
            folder.finish("repeats", [row.model_dump() for row in repeat_tests(folder.path, settings)])
            folder.finish(f"stage-{REPEATS}", {"seconds": time.perf_counter() - start})
        write_scores_record(folder.path)
        verdicts = write_audit_tables(folder.path, settings)
        audit_page(folder.path)
        write_json(folder.path / "audit.json", audit_record(folder.path, data=read.hashes).model_dump(mode="json"))
    return ModelAuditResult(out, verdicts.membership, None, [], [])


def _read(settings: ProbabilityAuditSettings) -> _Read:
    members, controls = read_answers(settings.members), read_answers(settings.controls)
    references = [read_answers(path) for path in settings.references]
    for path, answers in ((settings.controls, controls), *zip(settings.references, references, strict=True)):
        classes, expected = answers.probabilities.shape[1], members.probabilities.shape[1]
        if classes != expected:
            raise DataError(f"{path} has {classes} classes, {settings.members} has {expected}; they must be the same")
    labels = np.concatenate([members.labels, controls.labels])
    for path, answers in zip(settings.references, references, strict=True):
        if not np.array_equal(answers.labels, labels):
            raise DataError(
                f"{path} has {len(answers)} rows, or other labels than the {len(labels)} rows of members and then "
                "controls; give the answers to the same images in that order"
            )
    return _Read(members, controls, references)


def _score(settings: ProbabilityAuditSettings, read: _Read, folder: RunFolder) -> None:
    """Score membership of the model and of the attack control, and write all that the tables are made of."""
    seed, name = settings.seeds[0], settings.name
    labels = np.concatenate([read.members.labels, read.controls.labels])
    member = np.arange(len(labels)) < len(read.members)
    design = Observational(member, labels)
    given = np.concatenate([np.arange(len(read.members)), np.arange(len(read.controls))])
    scores = _scores(read)
    members, controls = _share(read.members), _share(read.controls)
    record = AuditRecord(
        target=TargetDescription(
            design="random-split" if settings.drawn_at_random else "observational",
            n_members=len(read.members),
            n_control=len(read.controls),
            train_accuracy=members.value,
            control_accuracy=controls.value,
            description="a model behind an interface",
        ),
        membership=_results(scores, design, seed, name, settings.draws),
    )
    pool = {"labels": labels, "member": member, "stratum": labels, "source": given, "unit": np.arange(len(labels))}
    nothing = np.arange(0)
    files = {"scored": pool, "signals": scores, "membership": {}, "nearest": {}, "pool": pool | {"position": nothing}}
    write_array_files({f"{file}.npz": npz_bytes(arrays) for file, arrays in files.items()}, folder.path, seed, name)
    folder.finish("preflight", _preflight(members, controls).model_dump())
    folder.finish(PLAN_RECORD, _plan(read).model_dump())
    folder.finish(record_name(seed, ATTACK_CONTROL), _known_leak(seed, settings.draws).model_dump())
    folder.finish(record_name(seed, POOL), PoolRecord(blind=_not_blind()).model_dump())
    unready = ReadinessRow(detector=OURS[1], ood_set=ID_TEST, group="id", status="not-applicable", reason=NO_MODEL)
    folder.finish(READINESS_RECORD, ReadinessRecord(rows=[unready]).model_dump())
    folder.finish(record_name(seed, name), record.model_dump())


def _scores(read: _Read) -> dict[str, Scores]:
    """Return the membership scores of all images, members first."""
    scores = {}
    for score in ("loss", "margin"):
        scores[score] = np.concatenate([getattr(read.members, score), getattr(read.controls, score)])
    if read.references:
        own = np.concatenate([read.members.log_odds, read.controls.log_odds])
        answers = np.stack([reference.log_odds for reference in read.references])
        scores |= reference_scores(own, References(answers, np.zeros(answers.shape, bool)))
    return scores


def _results(
    scores: Mapping[str, Scores], design: Design, seed: int, name: str, draws: int
) -> dict[str, MembershipResult]:
    results = {}
    for score, values in scores.items():
        rng = np.random.default_rng(child_seed(seed, f"{name}/membership/{score}"))
        results[score] = MembershipResult.model_validate(membership_figures(values, design, rng, draws=draws))
    return results


def _known_leak(seed: int, draws: int) -> AuditRecord:
    """Score membership of a network of ours that is known to leak, by the same scores."""
    pool, _ = coin_pool(load("digits"), KNOWN_MEMBERS, seeded_rng(seed, ATTACK_CONTROL))
    known = train_known_leak(RECIPES["mlp-decay"], pool, seed=seed, device="cpu")
    scores = {}
    for name, score in (("loss", loss), ("margin", logit_margin)):
        scores[name] = score(known, pool.floats, pool.labels).numpy()
    description = f"{RECIPES['mlp-decay'].arch} on digits, known to leak"
    return AuditRecord(
        target=describe_target(known, pool, description),
        membership=_results(scores, pool.design, seed, ATTACK_CONTROL, draws),
    )


def _not_blind() -> BlindResult:
    return BlindResult(status="not-applicable", reason=NO_IMAGES)


def _share(answers: Answers) -> Estimate:
    return counted_share(int(answers.right.sum()), len(answers))


def _preflight(members: Estimate, controls: Estimate) -> PreflightRecord:
    gap = difference_of_shares(members, controls)
    return PreflightRecord(
        members=Accuracy(value=members.value, low=members.low, high=members.high, n=members.n),
        controls=Accuracy(value=controls.value, low=controls.low, high=controls.high, n=controls.n),
        gap=gap.value,
        gap_low=gap.low,
        gap_high=gap.high,
        preparation="not known: answers were given, no images",
        both_sides=0,
        near_copies=None,
        near_similarity=1.0,
        notes=("Copies of images among members and controls could not be looked for: there are no images.",),
    )


def _plan(read: _Read) -> PlanRecord:
    n_images = len(read.members) + len(read.controls)
    stages = (
        PlannedStage(name=MEMBERSHIP, settings=f"answers to {n_images} images", seconds=5.0),
        PlannedStage(name=REPEATS, settings=f"{REPEATS_OF_A_FAMILY} repeats of each family", seconds=5.0),
    )
    left_out = {"reconstruction": NO_MODEL}
    return PlanRecord(budget_s=0, steps={}, left_out=left_out, most=0, weighed=0, stages=stages)
