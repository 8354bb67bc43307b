"""What the figures of an OOD run say in plain words."""

from dataclasses import dataclass

import pandas as pd

from invaudit.report.ood.run import OodRun
from invaudit.report.ood.tables import (
    GROUPS,
    OURS,
    by_detector,
    exact_level,
    is_trivial,
    measured,
    of_networks,
    ranked_baselines,
)
from invaudit.report.printing import p_text
from invaudit.report.records import Row
from invaudit.stats.bootstrap import MIN_SEEDS

ALPHA = 0.05
PHRASES = {
    "ahead": "beats",
    "behind": "stays behind",
    "unclear": "does not differ clearly from",
    "untested": "was not tested against",
}


@dataclass(frozen=True)
class Comparison:
    """Ours against the best baseline of one group of OOD sets: its ``mean-GROUP`` row, with the difference to ours.

    Baselines on our network profit from its training, so that they are compared apart.
    """

    group: str
    on_our_network: bool
    n_baselines: int
    ours: float
    best: Row

    @property
    def verdict(self) -> str:
        """``ahead`` or ``behind`` where the interval leaves out zero and the adjusted p agrees, else ``unclear``."""
        low, high, p_adjusted = (self.best[name] for name in ("difference_low", "difference_high", "p_adjusted"))
        if low is None or high is None:
            return "untested"
        if low <= 0 <= high or (p_adjusted is not None and p_adjusted > ALPHA):
            return "unclear"
        return "ahead" if high < 0 else "behind"

    @property
    def where(self) -> str:
        """The networks of the baselines."""
        return "our network" if self.on_our_network else "other networks"

    @property
    def sentence(self) -> str:
        """The comparison in one sentence with its figures."""
        text = (
            f"mean AUROC {exact_level(self.ours)} % for ours, {exact_level(self.best['auroc'])} % for the best of "
            f"{self.n_baselines} baselines on {self.where} ({self.best['detector']} on {self.best['network']})"
        )
        value = self.best["difference"]
        if value is None:
            return f"{text}."
        sign = 1 if value > 0 else -1
        text += f": {abs(100 * value):.2f} points {'behind' if value > 0 else 'ahead'}"
        if self.verdict == "untested":
            return f"{text}, not tested."
        # Adding 0 turns -0.0 into 0.0.
        low, high = sorted(round(100 * sign * self.best[name], 2) + 0 for name in ("difference_low", "difference_high"))
        p_adjusted = self.best["p_adjusted"]
        p_clause = "" if p_adjusted is None else f", Holm p {p_text(p_adjusted)}"
        return f"{text} (95 % interval {low:.2f} to {high:.2f}{p_clause})."


def compare(run: OodRun) -> list[Comparison]:
    """Return ours against the best baseline on other networks and on our own, for each group that has both."""
    rows = measured(run.rows)
    found = []
    for group in GROUPS:
        ours = by_detector(rows, f"mean-{group}").get(OURS)
        ranked = ranked_baselines(rows, group)
        for own in (False, True):
            part = of_networks(ranked, own=own)
            if ours and part:
                found.append(Comparison(group, own, len(part), ours["auroc"], part[0]))
    return found


def headline_sentence(run: OodRun) -> str:
    """Return what the run found, in one sentence."""
    found: dict[str, dict[str, list[str]]] = {}
    for item in compare(run):
        baselines = f"{item.n_baselines} baselines on {item.where}"
        found.setdefault(item.group, {}).setdefault(PHRASES[item.verdict], []).append(baselines)
    if not found:
        return f"{run.id_set}: this run holds no comparison of ours with a baseline."
    groups: dict[str, list[str]] = {}
    for group, verdicts in found.items():
        words = ", and ".join(f"{phrase} the best of {' and of '.join(best)}" for phrase, best in verdicts.items())
        groups.setdefault(words, []).append(group)
    clauses = [f"by the mean over {' and over '.join(names)} OOD sets ours {words}" for words, names in groups.items()]
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


def gaps(run: OodRun) -> pd.DataFrame:
    """Return what has no result: one row per status, network, detector and reason, with the sets concerned."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for row in run.measurements:
        if row["status"] != "ok":
            key = tuple(str(row[name] or "") for name in ("status", "network", "detector", "reason"))
            found.setdefault(key, {})[str(row["ood_set"] or "")] = None
    lines = [(*key, ", ".join(sets)) for key, sets in sorted(found.items())]
    return pd.DataFrame(lines, columns=["status", "network", "detector", "reason", "ood_set"])


def controls(run: OodRun) -> pd.DataFrame:
    """Return the control sets: rows measured, lowest and highest AUROC, rows that failed.

    A row failed if it has an AUROC and another status than ``ok``, or, for ``control-same``, if its AUROC is not
    exactly one half. A detector that could not run has no AUROC and is no failed control.
    """
    found: dict[str, list[Row]] = {}
    for row in run.measurements:
        if row["group"] == "control" and row["auroc"] is not None:
            found.setdefault(row["ood_set"], []).append(row)
    lines = []
    for name, rows in sorted(found.items()):
        values = [row["auroc"] for row in rows]
        n_failed = sum(row["status"] != "ok" or (name == "control-same" and row["auroc"] != 0.5) for row in rows)
        lines.append((name, len(rows), min(values), max(values), n_failed))
    return pd.DataFrame(lines, columns=["control", "rows", "lowest_auroc", "highest_auroc", "failed"])


def trivial_sets(run: OodRun) -> list[str]:
    """Return the OOD sets that a pixel statistic alone tells apart."""
    return list(dict.fromkeys(row["ood_set"] for row in run.rows if is_trivial(row)))


def skipped_sets(run: OodRun) -> list[str]:
    """Return the OOD sets that were not there."""
    return list(dict.fromkeys(str(row["ood_set"]) for row in run.measurements if row["status"] == "skipped"))
