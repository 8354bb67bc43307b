"""What two models make of images of other kinds: each detector on each set, paired where both measured the same."""

from collections.abc import Iterator, Mapping

import numpy as np

from invaudit.audit.readiness import rejections
from invaudit.benchmarks.comparing.audited import Audit, Target
from invaudit.benchmarks.comparing.intervals import paired
from invaudit.benchmarks.comparing.one_sided import one_sided, unpaired
from invaudit.benchmarks.comparing.shared_images import NOT_KEPT
from invaudit.records.comparison import ComparisonRow
from invaudit.records.leakage import ReadinessRow
from invaudit.records.names import CALIBRATE, ID_TEST, scores_key
from invaudit.stats import Estimate, Observational, change_of_share, membership_difference

FIGURES = ("auroc", "rejected")
Scores = Mapping[str, np.ndarray]


def readiness_rows(before: Audit, after: Audit, old_target: Target, new_target: Target) -> Iterator[ComparisonRow]:
    """Yield what each detector makes of each set of other images in both audits.

    Members and controls of the two are known to be the same; so are then the images of the model's own kind, which are
    some of the controls, and the noise.
    """
    tables = [{(row.detector, row.ood_set): row for row in audit.run.readiness} for audit in (before, after)]
    yield from one_sided("readiness", "name", *([detector for detector, _ in table] for table in tables))
    yield from one_sided("readiness", "ood_set", *([ood_set for _, ood_set in table] for table in tables))
    scores = old_target.arrays("readiness"), new_target.arrays("readiness")
    for detector, ood_set in tables[0]:
        if (detector, ood_set) not in tables[1]:
            continue
        old, new = (table[detector, ood_set] for table in tables)
        key = f"ood/{ood_set}"
        if before.data.get(key) != after.data.get(key):
            fields = unpaired("readiness", "the set holds other images in the second run")
            yield ComparisonRow.model_validate(fields | {"name": detector, "ood_set": ood_set})
            continue
        for figure in FIGURES:
            yield from _readiness_row(figure, old, new, scores)


def _readiness_row(
    figure: str, before: ReadinessRow, after: ReadinessRow, scores: tuple[Scores, Scores]
) -> Iterator[ComparisonRow]:
    """Yield one figure of both, if there is one: of the model's own kind there is no AUROC."""
    old, new = getattr(before, figure), getattr(after, figure)
    failed = next((row for row in (before, after) if row.status != "ok"), None)
    if old is None and new is None and failed is None:
        return
    row = ComparisonRow(
        part="readiness",
        name=before.detector,
        ood_set=before.ood_set,
        figure=figure,
        better=ReadinessRow.columns()[figure].better,
        before=old,
        after=new,
        difference=None if old is None or new is None else new - old,
        compared="beside",
        reason=f"{failed.status}: {failed.reason}" if failed else f"no interval: {NOT_KEPT}",
    )
    if failed is None and _are_paired(before, scores):
        row = paired(row, _difference(figure, before, scores))
    yield row


def _are_paired(row: ReadinessRow, scores: tuple[Scores, Scores]) -> bool:
    """Return whether both audits keep the scores of one detector on a set, of as many images."""
    for name in (ID_TEST, CALIBRATE, row.ood_set):
        key = scores_key(row.detector, name)
        if not all(key in of_audit for of_audit in scores) or len(scores[0][key]) != len(scores[1][key]):
            return False
    return True


def _difference(figure: str, row: ReadinessRow, scores: tuple[Scores, Scores]) -> Estimate:
    """Return how a figure has changed, each network with its own threshold."""
    if figure == "rejected":
        old, new = (rejections(of_audit, row.detector, row.ood_set) for of_audit in scores)
        return change_of_share(old, new)
    own, other = scores_key(row.detector, ID_TEST), scores_key(row.detector, row.ood_set)
    # As members from controls, so are images of another kind told from the model's own: by the same difference.
    old, new = (np.concatenate([of_audit[own], of_audit[other]]) for of_audit in scores)
    is_ood = np.arange(len(old)) >= len(scores[0][own])
    return membership_difference(old, new, Observational(is_ood, np.zeros(len(is_ood), np.int64)))
