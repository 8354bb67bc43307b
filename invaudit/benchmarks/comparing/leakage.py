"""Two audits of the same members and controls: what each score and each test says of the one and of the other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invaudit.benchmarks.comparing.one_sided import in_both, one_sided, unpaired
from invaudit.records.columns import distinct
from invaudit.records.comparison import ComparisonRow
from invaudit.records.leakage import ReadinessRow, TargetRow, TestRow
from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.records.names import OURS
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_object
from invaudit.stats import Design, Observational, Pairs, membership_difference

AUDIT = "audit.json"
NOT_THE_POOL = ("reference", "ood/")
"""How names of images begin that are neither members nor controls."""
IDENTITY = ("labels", "member", "source", "pair", "unit")
"""Arrays of a pool that say which image stands where, and which move together."""


@dataclass(frozen=True)
class _Audit:
    """One of the two audits.

    Attributes:
        run: Its tables.
        data: Content hash of each image set by name.
    """

    run: LeakageRun
    data: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "_Audit":
        data = read_object(folder / AUDIT, "finish the audit first").get("data")
        if not isinstance(data, dict):
            raise RunFolderError(f"{folder / AUDIT} does not say which images were audited; make the audit again")
        return cls(read_leakage_run(folder), data)

    @property
    def pool_data(self) -> dict[str, str]:
        """The hashes of what members and controls come from."""
        return {name: text for name, text in self.data.items() if not name.startswith(NOT_THE_POOL)}

    @property
    def targets(self) -> list[str]:
        """Names of the audited networks."""
        return distinct(row.target for row in (*self.run.tests, *self.run.membership))


class _Target(NamedTuple):
    """A network of one audit, for one seed."""

    run: LeakageRun
    name: str
    seed: int

    def rows(self, table: Sequence[Any]) -> list[Any]:
        """Return its rows of a table of the audit."""
        return [row for row in table if row.target == self.name and row.seed == self.seed]

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return what is stored of it under a name, perhaps nothing."""
        return self.run.arrays(self.seed, self.name, name)


def compare_leakage(before: Path, after: Path) -> list[ComparisonRow]:
    """Return the rows of a comparison of two audits.

    Two audits of one network each are paired whatever the networks are called; where there are more, by their names.

    Raises:
        RunFolderError: A folder is damaged or not finished, or the two audited other members or controls.
    """
    audits = _Audit.read(before), _Audit.read(after)
    _refuse_other_images(*audits)
    names, lone = _paired_targets(*audits)
    old_seeds, new_seeds = (audit.run.seeds for audit in audits)
    seeds = in_both(old_seeds, new_seeds)
    if not names or not seeds:
        raise RunFolderError(
            f"{before} audits {', '.join(audits[0].targets)} with seeds {old_seeds}, {after} "
            f"{', '.join(audits[1].targets)} with seeds {new_seeds}, expected a network and a seed in common; give "
            "both the same names and seeds"
        )
    rows = lone + one_sided("membership", "seed", old_seeds, new_seeds)
    for (old, new), seed in product(names, seeds):
        rows += _target_rows(_Target(audits[0].run, old, seed), _Target(audits[1].run, new, seed))
    return rows + list(_readiness_rows(*audits))


def shown_rows(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Return what a short table shows of an audit: no similarities, and of readiness our detector alone."""
    shown = []
    for row in rows:
        similarity = row.figure in ("similarity_member", "similarity_control")
        other_detector = row.part == "readiness" and row.name not in (OURS[1], None)
        if row.compared == "not-paired" or not (similarity or other_detector):
            shown.append(row)
    return shown


def _refuse_other_images(before: _Audit, after: _Audit) -> None:
    old, new = before.pool_data, after.pool_data
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if differing:
        hashes = ", ".join(f"{name}: {_short(old.get(name))} and {_short(new.get(name))}" for name in differing)
        raise RunFolderError(
            f"{before.run.path} and {after.run.path} audited different images ({hashes}): no difference between them "
            "is one between networks; audit both with the same members and controls"
        )


def _short(text: str | None) -> str:
    return "none" if text is None else text[:12]


def _paired_targets(before: _Audit, after: _Audit) -> tuple[list[tuple[str, str]], list[ComparisonRow]]:
    """Return which network of the one is compared with which of the other, and rows for those without a partner."""
    old, new = before.targets, after.targets
    if len(old) == len(new) == 1:
        return [(old[0], new[0])], []
    return [(name, name) for name in in_both(old, new)], one_sided("membership", "target", old, new)


def _target_rows(before: _Target, after: _Target) -> Iterator[ComparisonRow]:
    """Yield all rows of one network and seed."""
    named = {"target": _both_names(before.name, after.name), "seed": before.seed}
    rows = [*_membership_rows(before, after), *_test_rows(before, after), *_accuracy_rows(before, after)]
    for row in rows:
        yield row.model_copy(update=named)


def _both_names(before: str, after: str) -> str:
    return before if before == after else f"{before} / {after}"


def _membership_rows(before: _Target, after: _Target) -> Iterator[ComparisonRow]:
    """Yield the AUROC of each membership score, paired where both audits have tested the same pool."""
    tables = [{row.score: row for row in target.rows(target.run.membership)} for target in (before, after)]
    yield from one_sided("membership", "name", *tables)
    pools = before.arrays("pool"), after.arrays("pool")
    other_pool = _why_other_pool(*pools)
    scores = before.arrays("membership"), after.arrays("membership")
    for name in in_both(*tables):
        old, new = (table[name] for table in tables)
        row = ComparisonRow(
            part="membership",
            name=name,
            figure="auroc",
            better="lower",
            before=old.auroc,
            after=new.auroc,
            compared="beside",
            reason=other_pool,
        )
        failed = next((of for of in (old, new) if of.status != "ok"), None)
        if failed:
            row = row.model_copy(update={"compared": "not-paired", "reason": f"{failed.status}: {failed.reason}"})
        elif other_pool is None and not all(name in of_audit for of_audit in scores):
            row = row.model_copy(update={"reason": "the scores of single images are not kept"})
        elif other_pool is None:
            found = membership_difference(scores[0][name], scores[1][name], design_of(pools[0]))
            measured = {"difference": found.value, "difference_low": found.low, "difference_high": found.high}
            row = row.model_copy(update={**measured, "compared": "paired", "reason": f"interval: {found.method}"})
        yield row


def _why_other_pool(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> str | None:
    """Return why two pools are not the same images in the same order; None where they are."""
    if not before or not after:
        return "the pool is not kept"
    for name in IDENTITY:
        if not np.array_equal(before.get(name, np.empty(0)), after.get(name, np.empty(0))):
            return "other images of the members and controls were tested; give both audits the same seed and sizes"
    return None


def design_of(pool: Mapping[str, np.ndarray]) -> Design:
    """Return how membership came about, from the arrays of ``pool.npz``."""
    if "pair" in pool:
        return Pairs(pool["member"], pool["pair"])
    return Observational(pool["member"], pool["stratum"], pool.get("unit"))


def _test_rows(before: _Target, after: _Target) -> Iterator[ComparisonRow]:
    """Yield what each test of reconstructions says of both, side by side: a difference of verdicts has no test."""
    tables = []
    for target in (before, after):
        tables.append({f"{row.method}:{row.metric}": row for row in target.rows(target.run.tests)})
    yield from one_sided("reconstruction", "name", *tables)
    for name in in_both(*tables):
        old, new = (table[name] for table in tables)
        for figure in ("p_adjusted", "similarity_member", "similarity_control"):
            is_test = figure == "p_adjusted"
            yield ComparisonRow(
                part="reconstruction",
                name=name,
                figure=figure,
                before=getattr(old, figure),
                after=getattr(new, figure),
                verdict_before=_verdict(old) if is_test else None,
                verdict_after=_verdict(new) if is_test else None,
                compared="beside",
                reason="no test of a difference",
            )


def _verdict(row: TestRow) -> str:
    """Return what a test says, in the words of its table."""
    if row.verdict is None:
        return f"{row.status}: {row.reason}" if row.reason else row.status
    return f"{row.verdict} ({row.verdict_reason})" if row.verdict_reason else row.verdict


def _accuracy_rows(before: _Target, after: _Target) -> Iterator[ComparisonRow]:
    """Yield the accuracy on members and controls and the gap between both."""
    tables = [target.rows(target.run.targets) for target in (before, after)]
    if not all(tables):
        return
    accuracies = [_accuracies(rows[0]) for rows in tables]
    for name in accuracies[0]:
        old, new = (of_audit[name] for of_audit in accuracies)
        yield ComparisonRow(
            part="accuracy",
            name=name,
            figure="accuracy",
            better=None if name == "members" else "lower" if name == "gap" else "higher",
            before=old,
            after=new,
            difference=None if old is None or new is None else new - old,
            compared="beside",
            reason="no interval: answers for single images are not kept",
        )


def _accuracies(row: TargetRow) -> dict[str, float | None]:
    members, controls = row.train_accuracy, row.control_accuracy
    gap = None if members is None or controls is None else members - controls
    return {"members": members, "controls": controls, "gap": gap}


def _readiness_rows(before: _Audit, after: _Audit) -> Iterator[ComparisonRow]:
    """Yield what each detector makes of each set of other images in both audits, side by side."""
    tables = [{(row.detector, row.ood_set): row for row in audit.run.readiness} for audit in (before, after)]
    yield from one_sided("readiness", "name", *([detector for detector, _ in table] for table in tables))
    yield from one_sided("readiness", "ood_set", *([ood_set for _, ood_set in table] for table in tables))
    for detector, ood_set in tables[0]:
        if (detector, ood_set) not in tables[1]:
            continue
        old, new = (table[detector, ood_set] for table in tables)
        key = f"ood/{ood_set}"
        if before.data.get(key) != after.data.get(key):
            fields = unpaired("readiness", "the set holds other images in the second run")
            yield ComparisonRow.model_validate(fields | {"name": detector, "ood_set": ood_set})
            continue
        for figure in ("auroc", "rejected"):
            yield from _readiness_row(figure, old, new)


def _readiness_row(figure: str, before: ReadinessRow, after: ReadinessRow) -> Iterator[ComparisonRow]:
    """Yield one figure of both, if there is one: of the model's own kind there is no AUROC."""
    old, new = getattr(before, figure), getattr(after, figure)
    failed = next((row for row in (before, after) if row.status != "ok"), None)
    if old is None and new is None and failed is None:
        return
    yield ComparisonRow(
        part="readiness",
        name=before.detector,
        ood_set=before.ood_set,
        figure=figure,
        better=ReadinessRow.columns()[figure].better,
        before=old,
        after=new,
        difference=None if old is None or new is None else new - old,
        compared="beside",
        reason=f"{failed.status}: {failed.reason}" if failed else "no interval: not paired",
    )
