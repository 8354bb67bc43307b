"""Score reconstructions that somebody made: nearest members and controls, the test, the report, ``audit.json``."""

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from invaudit.data import ImageSet, load
from invaudit.leakage import (
    MEMBERSHIP,
    PAPERS_COUNT,
    TABLE,
    Audit,
    BlindBaseline,
    Metrics,
    Pool,
    Reconstructions,
    describe_pool,
    judge_rows,
    make_metrics,
    make_pool,
    read_groups,
    read_pairs,
    stratified,
)
from invaudit.leakage.rows import COUNTS, as_table
from invaudit.models import resolve_device
from invaudit.report import audit_record, leakage_page
from invaudit.runtime.console import notice
from invaudit.runtime.errors import ShapeError
from invaudit.runtime.files import npz_bytes, write_bytes, write_csv, write_json
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child_seed
from invaudit.runtime.settings import Settings
from invaudit.similarity import METRICS, nearest
from invaudit.stats import Pairs

METHOD = "given"
NEIGHBOURS = ("reconstruction", "label", "metric", "member", "similarity_member", "control", "similarity_control")


class ScoreSettings(Settings):
    """What is scored, and how."""

    name: str = "target"
    """Name of the audited target in tables."""
    reconstructions: str
    """DATA: the reconstructions, all of them that the attack gave."""
    members: str
    """DATA: images that the target was trained on."""
    controls: str
    """DATA: images of the same source that it was not trained on."""
    pairs: Path | None = None
    """File of pairs drawn by coins before training; without it the design is ``observational``."""
    groups: Path | None = None
    """File of groups, such as patients: under ``observational`` their images move together."""
    reference: str | None = None
    """DATA: further images of the source, for the centre of the cosine and for the scoring limit."""
    metrics: dict[str, int | None] = Field(default={"ssim": None, "lpips-alex": None}, min_length=1)
    """Metrics, declared before looking, each with the side that images are resized to (None: as they are)."""
    used_members: bool = False
    """Whether any setting, choice or statistic of the attack used members: then nothing is concluded."""
    drop_duplicates: bool = False
    """Leave out images that are both member and control."""
    most: int = Field(default=2_000, ge=7)
    """Largest number of members, and of controls, that are tested under ``observational``; all are searched."""
    limit_blur: float = Field(default=0.8, ge=0)
    limit_noise: float = Field(default=0.1, ge=0)
    draws: int = Field(default=9_999, ge=99)
    alpha: float = Field(default=0.01, gt=0, lt=1)
    images: Literal["none", "full"] = "none"
    """Whether reconstructions, members and controls are kept in the folder and shown in its report."""
    download: bool = False
    """Fetch the trunk weights of LPIPS where they are not found."""
    seeds: tuple[int] = (0,)
    device: str = "auto"

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: dict[str, int | None]) -> dict[str, int | None]:
        unknown = [name for name in metrics if name not in METRICS]
        if unknown:
            raise ValueError(f"metric {unknown[0]!r} is unknown, expected one of {', '.join(METRICS)}")
        return metrics


def score(settings: ScoreSettings, out: Path, *, resume: bool = False) -> Path:
    """Score reconstructions and write the folder of the audit.

    Returns:
        The folder: ``table.csv``, ``membership.csv``, ``neighbours.csv`` (the nearest member and control of every
        reconstruction, over all images), ``report.html``, ``audit.json``.

    Raises:
        InputError: Data that is missing or does not fit; nothing is written then.
    """
    device = resolve_device(settings.device)
    given, members, controls = (load(text) for text in (settings.reconstructions, settings.members, settings.controls))
    if given.images.shape[1:] != members.images.shape[1:]:
        raise ShapeError(
            f"reconstructions have shape {tuple(given.images.shape[1:])}, members {tuple(members.images.shape[1:])}; "
            "bring them to the members' size by the map that the attack used"
        )
    given_by = {
        "pairs": read_pairs(settings.pairs, made_before=_file(settings.reconstructions)) if settings.pairs else None,
        "groups": read_groups(settings.groups, len(members), len(controls)) if settings.groups else None,
    }
    pool = make_pool(members, controls, **given_by, drop_duplicates=settings.drop_duplicates)
    reference = load(settings.reference).floats() if settings.reference else None
    metrics = make_metrics(settings.metrics, reference, device, download=settings.download)
    for metric in metrics.values():
        if not isinstance(metric, dict):
            metric.embed(given.floats(slice(1)))  # images too small for it are refused before anything is written
    hashes = {"reconstructions": given.hash, "members": members.hash, "controls": controls.hash}
    notice("measuring the pool without the target")
    tested, blind = stratified(pool, np.random.default_rng(child_seed(settings.seeds[0], "strata")), most=settings.most)
    with RunFolder.open(out, settings, resume=resume, inputs=tuple(hashes.values())) as folder:
        _score(settings, folder.path, given, tested, blind, reference, metrics)
        neighbours = _neighbours(given, members, controls, metrics, folder.path / "work")
        write_csv(folder.path / "neighbours.csv", as_table(neighbours, NEIGHBOURS))
        shutil.rmtree(folder.path / "work", ignore_errors=True)
        notice("making the report")
        leakage_page(folder.path)
        write_json(folder.path / "audit.json", audit_record(folder.path, data=hashes).model_dump(mode="json"))
    return folder.path


def _file(data: str) -> Path | None:
    """Return the file or folder that a DATA text names, without its slice and split; None for the name of a set."""
    whole = data.rpartition("@")[0] or data
    known = (data, whole, whole.rpartition(":")[0])
    return next((Path(text) for text in known if text and Path(text).exists()), None)


def _score(
    settings: ScoreSettings,
    folder: Path,
    given: ImageSet,
    tested: Pool,
    blind: BlindBaseline,
    reference: Tensor | None,
    metrics: Metrics,
) -> None:
    seed = settings.seeds[0]
    images, design = tested.images.floats(), tested.design
    audit = Audit(images, tested.images.labels, design, metrics, seed=seed, stage="score", draws=settings.draws)
    # Where the pool has no classes, those of the reconstructions say nothing.
    labels = given.labels if tested.labelled else torch.full_like(given.labels, -1)
    found = Reconstructions(given.floats(), labels, torch.zeros(len(given), dtype=torch.int64), "given")
    notice("searching the nearest images")
    audit.method(METHOD, lambda: found)
    about = describe_pool(
        images,
        design,
        reference,
        metrics,
        [len(given)],
        seed=seed,
        stage="pool",
        alpha=settings.alpha,
        family=len(settings.metrics),
        blur=settings.limit_blur,
        noise=settings.limit_noise,
        blind=blind,
    )
    who = {
        "target": settings.name,
        "design": design.name,
        "seed": seed,
        "n_members": int(design.member.sum()),
        "n_control": int((~design.member).sum()),
    }
    rows = judge_rows(
        audit.record,
        about,
        [METHOD],
        list(settings.metrics),
        design=design.name,
        alpha=settings.alpha,
        exploratory=settings.used_members,
    )
    write_csv(folder / "table.csv", as_table([{**row, **who} for row in rows], TABLE, *COUNTS))
    scores = [{**row, **who, "score": name} for name, row in audit.record["membership"].items()]
    write_csv(folder / "membership.csv", as_table(scores, MEMBERSHIP))
    counts = [{**row, **who, "method": name} for name, row in audit.record["papers_count"].items()]
    write_csv(folder / "papers_count.csv", as_table(counts, PAPERS_COUNT))
    write_json(folder / "records" / "score.json", {"audit": audit.record, "pool": about})
    place = folder / "scores" / f"seed-{seed}" / settings.name
    units = {"pair": design.pair} if isinstance(design, Pairs) else {"stratum": design.stratum, "unit": design.units}
    shown = {"images": given.images.numpy()} if settings.images == "full" else {}
    arrays = {"labels": tested.images.labels.numpy(), "member": design.member, "source": tested.source, **units}
    write_bytes(place / "pool.npz", npz_bytes(arrays))
    write_bytes(place / "membership.npz", npz_bytes(audit.scores))
    write_bytes(place / f"{METHOD}.npz", npz_bytes(audit.nearest[METHOD] | shown))
    if shown:
        write_bytes(place / "images.npz", npz_bytes({"images": tested.images.images.numpy()}))


def _neighbours(
    given: ImageSet, members: ImageSet, controls: ImageSet, metrics: Metrics, work: Path
) -> list[dict[str, Any]]:
    """Return the nearest member and the nearest control of every reconstruction, over all that were given."""
    rows = []
    for name, metric in metrics.items():
        if isinstance(metric, dict):
            continue
        found = {}
        for side, images in (("member", members), ("control", controls)):
            batches = _Batches(images)
            found[side] = nearest(given.floats(), batches, metric, 1, records=work / f"{name}-{side}")
        for place in range(len(given)):
            rows.append(
                {
                    "reconstruction": place,
                    "label": int(given.labels[place]),
                    "metric": name,
                    "member": int(found["member"].index[place, 0]),
                    "similarity_member": float(found["member"].value[place, 0]),
                    "control": int(found["control"].index[place, 0]),
                    "similarity_control": float(found["control"].value[place, 0]),
                }
            )
    return rows


class _Batches:
    """Images as floats, batch by batch, as often as they are asked for: all at once would take four times the room."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __iter__(self):
        for start in range(0, len(self.images), 1024):
            yield self.images.floats(slice(start, start + 1024))
