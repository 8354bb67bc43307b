"""The page of an OOD run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from invaudit.report.drawing import png
from invaudit.report.ood import figures
from invaudit.report.ood.findings import (
    compare,
    controls,
    gaps,
    headline_sentence,
    scope_sentence,
    skipped_sets,
    trivial_sets,
)
from invaudit.report.ood.run import OodRun, read_ood_run
from invaudit.report.ood.tables import (
    GROUPS,
    N_BEST,
    OURS,
    exact_level,
    format_table,
    measured,
    over_seeds,
    short_table,
)
from invaudit.report.page import PageFigure, grid, provenance, write_page
from invaudit.report.records import Row, as_rows

SHOWN = (*GROUPS, "shift", "seen")


def ood_page(run: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a finished OOD run into its folder.

    The page shows what the folder holds and says what is missing. Equal folders give equal bytes.

    Args:
        run: The run folder.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no ``summary.csv``, or cannot be written.
    """
    record = read_ood_run(run)
    drawn = list(_figures(record))
    return write_page(run, "ood.html", _context(record, drawn), drawn)


def _figures(run: OodRun) -> Iterator[PageFigure]:
    """Yield each figure that the run can give."""
    if compare(run):
        caption = (
            "Each line is an OOD set, shaded lines are means. Left: further right is better; the weakest baselines "
            "may lie off the axis. Right: left of the vertical line is worse than ours."
        )
        yield PageFigure("headline", png(figures.headline(run.summary)), caption)
    for seed in run.seeds[:1]:
        yield from _histograms(run, seed)
        networks = run.inversions(seed)
        for network in sorted(networks, key=lambda name: (name != OURS[0], name)):
            caption = (
                f"Inversions of network {network} (seed {seed}): images that it takes for each class, "
                "one row per epoch."
            )
            yield PageFigure(f"inversions-{network}", png(figures.inversions(*networks[network])), caption)
        if made := run.attack_images(seed, OURS[0]):
            caption = (
                f"What fresh generators, trained against the finished network {OURS[0]} (seed {seed}), make for each "
                "class, one row per attack; below each image whether ours accepts it at the false-alarm rate of the "
                "calibration table."
            )
            yield PageFigure("attacks", png(figures.attack_images(made)), caption)
    if run.resistance is not None and len(run.resistance):
        caption = (
            "Share of fresh inversions, by generators unseen in training, that the network takes for no class. "
            "Bar: mean over seeds; dots: seeds."
        )
        yield PageFigure("resistance", png(figures.resistance(run.resistance)), caption)


def _histograms(run: OodRun, seed: int) -> Iterator[PageFigure]:
    scores = run.scores(seed, *OURS)
    groups = {row["ood_set"]: row["group"] for row in run.rows}
    panels = {f"{name} ({group})": scores[name] for group in SHOWN for name in scores if groups.get(name) == group}
    if "id-test" in scores and panels:
        caption = (
            f"Scores of ours (seed {seed}). Dashed: 95 % of ID lies to the left; OOD left of it is accepted (FPR95). "
            "The outermost bars hold everything beyond."
        )
        yield PageFigure("histograms", png(figures.histograms(scores["id-test"], panels)), caption)


def _context(run: OodRun, drawn: list[PageFigure]) -> dict[str, Any]:
    short, checked = short_table(run.summary), controls(run)
    text = format_table(short)
    return provenance(run.seeds, run.config, run.environment) | {
        "title": f"OOD detection: {run.id_set}",
        "headline": headline_sentence(run),
        "comparisons": [(item.group, item.sentence) for item in compare(run)],
        "scope": scope_sentence(run),
        "skipped": skipped_sets(run),
        "trivial": trivial_sets(run),
        "cards": list(_cards(run, short, checked)),
        "short": _parts(text),
        "short_columns": list(text.columns[3:]),
        "inversions": [figure.name for figure in drawn if figure.name.startswith("inversions-")],
        "summary": grid(pd.DataFrame(measured(run.rows)), without=("id_set", "status", "reason")),
        "gaps": grid(gaps(run)),
        "controls": grid(checked),
        "controls_passed": run.controls_passed,
        "control_failed": any(row["failed"] for row in as_rows(checked)),
        "calibration": grid(run.calibration, without=("id_set",)),
        "cost": grid(run.cost, without=("id_set",)),
        "resistance": grid(run.resistance, without=("id_set",)),
        "attacks": grid(over_seeds(run.attacks, "network", "detector", "attack")),
        "decisions": grid(over_seeds(run.decisions, "network", "ood_set")),
        "weights": grid(over_seeds(run.weights, "network", "part")),
    }


def _cards(run: OodRun, short: pd.DataFrame, checked: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Yield title, figure and note of each number at the top of the page."""
    ours: Row = next((row for row in as_rows(short) if row["part"] == "ours"), {})
    found = compare(run)
    for group in GROUPS:
        best = [f"{_percent(item.best['auroc'])} on {item.where}" for item in found if item.group == group]
        note = f"best baseline {', '.join(best)}" if best else "no baseline to compare with"
        yield f"{group} OOD, mean AUROC", _percent(ours.get(f"mean-{group}")), note
    yield "worst set", _percent(ours.get("worst")), "AUROC of the hardest near or far set"
    accuracy = {network: _id_accuracy(run, network) for network in (OURS[0], "plain")}
    yield "ID accuracy", _percent(accuracy[OURS[0]]), f"without garbage class {_percent(accuracy['plain'])}"
    n_rows, n_failed = (sum(row[name] for row in as_rows(checked)) for name in ("rows", "failed"))
    verdict = f"{n_failed} failed" if n_failed else "passed" if run.controls_passed else "not recorded"
    yield "controls", verdict, f"{n_rows} control rows"


def _percent(value: float | None) -> str:
    return exact_level(value) if value is None else f"{exact_level(value)} %"


def _id_accuracy(run: OodRun, network: str) -> float | None:
    """Return the mean over seeds; a seed may have a row per alpha, with the same accuracy."""
    rows = [] if run.calibration is None else as_rows(run.calibration)
    seeds = {row["seed"]: row["id_accuracy"] for row in rows if row["network"] == network}
    known = [value for value in seeds.values() if value is not None]
    return sum(known) / len(known) if known else None


def _parts(text: pd.DataFrame) -> list[tuple[str, str, list[list[str]]]]:
    """Return the parts of the short table: name, title and rows."""
    titles = {
        "ours": "ours",
        "ablation": "ablations: ours on other networks, and the garbage class alone",
        "best near": f"best baselines on near OOD, up to {N_BEST} on other networks and {N_BEST} on ours",
        "best far": "best baselines on far OOD, likewise",
    }
    parts = text.groupby("part", sort=False)
    return [(str(part), titles[str(part)], rows.drop(columns="part").to_numpy().tolist()) for part, rows in parts]
