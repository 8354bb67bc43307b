"""What the figures of an OOD run say in plain words."""

from dataclasses import dataclass

from invaudit.records.columns import Count, Fraction, Row, distinct
from invaudit.records.names import COMPARED_GROUPS, CONTROL_SAME
from invaudit.records.ood import OodSummaryRow
from invaudit.records.ood_run import OodRun, Reference
from invaudit.report.ood.tables import by_detector, exact_level, measured, off_network, on_network, ranked_baselines
from invaudit.report.printing import p_text
from invaudit.stats.bootstrap import MIN_SEEDS
from invaudit.stats.comparison import ComparisonVerdict, comparison_verdict

PHRASES: dict[ComparisonVerdict, str] = {
    "ahead": "beats",
    "behind": "stays behind",
    "unclear": "does not differ clearly from",
    "untested": "was not tested against",
}


@dataclass(frozen=True)
class Comparison:
    """The reference against the best baseline of one group of OOD sets.

    Baselines on its network profit from the training of that, so that they are compared apart.

    Attributes:
        group: The group.
        reference: What all rows are compared with.
        on_its_network: Whether the baselines are those on its network, or those on all others.
        n_baselines: Number of them.
        row: Its row of ``mean-GROUP``.
        best: That of the best baseline, with its difference to ours.
    """

    group: str
    reference: Reference
    on_its_network: bool
    n_baselines: int
    row: OodSummaryRow
    best: OodSummaryRow

    @property
    def verdict(self) -> ComparisonVerdict:
        """What the comparison says of the reference."""
        return comparison_verdict(self.best.difference_low, self.best.difference_high, self.best.p_adjusted)

    @property
    def networks(self) -> str:
        """The networks of the baselines."""
        if not self.on_its_network:
            return "other networks"
        return "our network" if self.reference.is_ours else f"network {self.reference.network}"

    @property
    def sentence(self) -> str:
        """The comparison in one sentence with its figures."""
        best = self.best
        baselines = f"{self.n_baselines} baselines on {self.networks} ({best.detector} on {best.network})"
        text = f"mean AUROC {exact_level(self.row.auroc)} % for {self.reference.name}, "
        text += f"{exact_level(best.auroc)} % for the best of {baselines}"
        if best.difference is None:
            return f"{text}."
        sign = 1 if best.difference > 0 else -1
        text += f": {abs(100 * best.difference):.2f} points {'behind' if best.difference > 0 else 'ahead'}"
        if best.difference_low is None or best.difference_high is None:
            return f"{text}, not tested."
        low, high = sorted((_points(sign * best.difference_low), _points(sign * best.difference_high)))
        p_clause = "" if best.p_adjusted is None else f", Holm p {p_text(best.p_adjusted)}"
        return f"{text} (95 % interval {low:.2f} to {high:.2f}{p_clause})."


def _points(difference: float) -> float:
    """Return a difference in points with two decimals; adding 0 turns -0.0 into 0.0."""
    return round(100 * difference, 2) + 0


def compare(run: OodRun) -> list[Comparison]:
    """Return the reference against the best baseline on other networks and on its own, for each group with both."""
    rows = measured(run.summary)
    comparisons: list[Comparison] = []
    reference = run.reference
    if reference is None:
        return comparisons
    for group in COMPARED_GROUPS:
        row = by_detector(rows, f"mean-{group}").get(reference.row)
        ranked = ranked_baselines(run, group)
        for on_its_network, baselines in ((False, off_network(run, ranked)), (True, on_network(run, ranked))):
            if row and baselines:
                comparison = Comparison(group, reference, on_its_network, len(baselines), row, baselines[0])
                comparisons.append(comparison)
    return comparisons


def headline_sentence(run: OodRun) -> str:
    """Return what the run found, in one sentence."""
    by_group: dict[str, dict[str, list[str]]] = {}
    for comparison in compare(run):
        baselines = f"{comparison.n_baselines} baselines on {comparison.networks}"
        phrases = by_group.setdefault(comparison.group, {})
        phrases.setdefault(PHRASES[comparison.verdict], []).append(baselines)
    reference = run.reference
    if reference is None:
        return f"{run.id_set}: a table of detectors; the config names no row to compare them with."
    if not by_group:
        return f"{run.id_set}: this run holds no comparison of {reference.name} with a baseline."
    groups_by_words: dict[str, list[str]] = {}
    for group, phrases in by_group.items():
        words = []
        for phrase, baselines in phrases.items():
            words.append(f"{phrase} the best of {' and of '.join(baselines)}")
        groups_by_words.setdefault(", and ".join(words), []).append(group)
    clauses = []
    for words, groups in groups_by_words.items():
        clauses.append(f"by the mean over {' and over '.join(groups)} OOD sets {reference.name} {words}")
    return f"{run.id_set}: {'; '.join(clauses)}."


def scope_sentence(run: OodRun) -> str:
    """Return what the intervals cover."""
    n_seeds = len(run.seeds)
    if n_seeds >= MIN_SEEDS:
        return f"{n_seeds} seeds; the intervals cover the choice of test images and the training."
    if not n_seeds:
        return "The run folder does not tell the seeds."
    seeds = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
    return (
        f"{seeds}: under {MIN_SEEDS}, the intervals cover the choice of test images only and speak of these networks."
    )


class GapRow(Row):
    """What has no result, and why."""

    status: str
    network: str
    detector: str
    reason: str
    ood_set: str
    """Names of the sets concerned."""


def gaps(run: OodRun) -> list[GapRow]:
    """Return what has no result: one row per status, network, detector and reason."""
    sets: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for row in run.measurements:
        if row.status != "ok":
            key = (row.status, row.network, row.detector, row.reason or "")
            sets.setdefault(key, {})[row.ood_set] = None
    rows = []
    for key, names in sorted(sets.items()):
        status, network, detector, reason = key
        text = ", ".join(names)
        rows.append(GapRow(status=status, network=network, detector=detector, reason=reason, ood_set=text))
    return rows


class ControlSetRow(Row):
    """How the rows of one control set came out."""

    control: str
    rows: Count
    """Rows that were measured."""
    lowest_auroc: Fraction
    highest_auroc: Fraction
    failed: Count
    """Rows that failed."""


def controls(run: OodRun) -> list[ControlSetRow]:
    """Return how each control set came out.

    A row failed if it has an AUROC and another status than ``ok``, or, for ``control-same``, if its AUROC is not
    exactly one half. A detector that could not run has no AUROC and is no failed control.
    """
    aurocs: dict[str, list[float]] = {}
    failed: dict[str, int] = {}
    for row in run.measurements:
        if row.group == "control" and row.auroc is not None:
            aurocs.setdefault(row.ood_set, []).append(row.auroc)
            has_failed = row.status != "ok" or (row.ood_set == CONTROL_SAME and row.auroc != 0.5)
            failed[row.ood_set] = failed.get(row.ood_set, 0) + has_failed
    rows = []
    for name, values in sorted(aurocs.items()):
        row = ControlSetRow(
            control=name,
            rows=len(values),
            lowest_auroc=min(values),
            highest_auroc=max(values),
            failed=failed[name],
        )
        rows.append(row)
    return rows


def trivial_sets(run: OodRun) -> list[str]:
    """Return the OOD sets that are marked as trivial."""
    return distinct([row.ood_set for row in run.summary if row.trivial])


def skipped_sets(run: OodRun) -> list[str]:
    """Return the OOD sets that were not there."""
    return distinct([row.ood_set for row in run.measurements if row.status == "skipped"])
