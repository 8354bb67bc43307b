"""The page of a leakage run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invaudit.report.drawing import png
from invaudit.report.leakage import figures
from invaudit.report.leakage.findings import (
    FIRED,
    LIMITS,
    MEANINGS,
    REASONS,
    WORDS,
    Finding,
    attack_sentence,
    findings,
    fired,
    headline_sentence,
    not_tested,
)
from invaudit.report.leakage.nearest import chosen_rows, is_distance, nearest_of
from invaudit.report.leakage.run import LeakageRun, read_leakage_run
from invaudit.report.leakage.scope import scope
from invaudit.report.leakage.tables import (
    BLIND,
    CONTROLS,
    MEMBERSHIP,
    PAPERS_COUNT,
    TARGETS,
    TESTS,
    Figures,
    over_seeds,
    why_without,
)
from invaudit.report.page import PageFigure, grid, provenance, write_page
from invaudit.report.printing import DASH, p_text
from invaudit.report.records import Row
from invaudit.runtime.seeds import child_seed
from invaudit.stats.verdicts import BLIND_LIMIT

KEYS = ("target", "method", "metric")
GAPS = ["target", "method", "metric", "seed", "status", "reason"]


def leakage_page(run: Path) -> Path:
    """Write ``figures/*.png`` and ``report.html`` of a leakage run into its folder.

    The page shows what the folder holds and says what is missing. Images are on it only if the run was made with
    ``images: full``. Equal folders give equal bytes.

    Args:
        run: The run folder.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder holds no ``table.csv``, or cannot be written.
    """
    record = read_leakage_run(run)
    drawn = list(_figures(record))
    return write_page(run, "leakage.html", _context(record, drawn), drawn)


def _figures(run: LeakageRun) -> Iterator[PageFigure]:
    """Yield each figure that the run can give."""
    yield from _quantiles(run)
    measured = [row | {"target": run.label(row["target"])} for row in run.membership if row["auroc"] is not None]
    if measured:
        caption = (
            "How often a member scores higher than a control, per score and seed. 50 (dashed) is guessing. "
            "METHOD:METRIC scores an image by its most similar reconstruction of the same class."
        )
        yield PageFigure("membership", png(figures.membership(measured)), caption)
    if run.shows_images:
        yield from _triplets(run)


def _quantiles(run: LeakageRun) -> Iterator[PageFigure]:
    metric = run.primary_metric
    panels: dict[str, dict[str, figures.Similarities]] = {}
    n_unlisted = 0
    for seed, target, method in _places(run) if metric else []:
        arrays, member = run.arrays(seed, target, method), run.arrays(seed, target, "pool").get("member")
        if member is not None and f"{metric}-index" in arrays:
            index, value = arrays[f"{metric}-index"], arrays[f"{metric}-value"]
            near = [nearest_of(index, value, kind) for kind in (member, ~member)]
            panels.setdefault(run.label(target), {})[method] = figures.Similarities(*(ends.value for ends in near))
            n_unlisted += sum(int((ends.position < 0).sum()) for ends in near)
    if metric and panels:
        caption = (
            f"Quantiles of {metric} over the reconstructions (seed {run.seeds[0]}): to the nearest member, upwards, "
            "against the nearest control, to the right; further is more similar. Points above the dashed line: "
            "reconstructions are nearer to members. Where members outnumber controls, some of that is expected; the "
            "tests compare equal numbers."
        )
        if n_unlisted:
            caption += (
                f" {n_unlisted} values are upper bounds: the list of nearest images ends before one of that kind."
            )
        yield PageFigure("quantiles", png(figures.quantiles(panels, metric, distance=is_distance(metric))), caption)


def _places(run: LeakageRun) -> list[tuple[int, str, str]]:
    """Return the first seed with each target and its methods."""
    pairs = dict.fromkeys((row["target"], row["method"]) for row in run.rows if row["target"] and row["method"])
    return [(seed, *pair) for seed in run.seeds[:1] for pair in pairs]


def _triplets(run: LeakageRun) -> Iterator[PageFigure]:
    metric = run.primary_metric
    for number, (seed, target, method) in enumerate(_places(run)):
        arrays, pool = run.arrays(seed, target, method), run.arrays(seed, target, "pool")
        pictures = run.arrays(seed, target, "images")
        if not {"images", f"{metric}-index"} <= arrays.keys() or "images" not in pictures or "member" not in pool:
            continue
        index, value = arrays[f"{metric}-index"], arrays[f"{metric}-value"]
        by_margin, at_random = chosen_rows(index, value, np.random.default_rng(child_seed(seed, "report/rows", number)))
        rows = np.concatenate([by_margin, at_random])
        near = [nearest_of(index[rows], value[rows], kind) for kind in (pool["member"], ~pool["member"])]
        how = ["margin"] * len(by_margin) + ["random"] * len(at_random)
        labels = arrays["labels"][rows].tolist()
        shown = figures.Triplets(arrays["images"][rows], labels, how, pictures["images"], *near)
        caption = (
            f"{method} on {target} (seed {seed}), {metric} below each image"
            f"{', smaller is more similar' if is_distance(str(metric)) else ''}."
        )
        yield PageFigure(f"images-{number:02}", png(figures.triplets(shown)), caption)


def _context(run: LeakageRun, drawn: list[PageFigure]) -> dict[str, Any]:
    found = findings(run)
    verdicts = dict.fromkeys(item.verdict for item in found if not item.negative)
    reasons = dict.fromkeys(name for item in found for name in item.reasons)
    ran, gaps = ([row for row in run.rows if (row["status"] == "ok") == ok] for ok in (True, False))
    negative, attack = ([row for row in run.controls if row["kind"] == kind] for kind in ("negative", "attack"))
    blind = [row for row in ran if row["blind_auroc"] is not None]
    counted = [row for row in run.papers_count if row["members"] is not None]
    return provenance(run.seeds, run.config, run.environment) | {
        "title": "Leakage of training images",
        "headline": headline_sentence(found),
        "findings": found,
        "meanings": [(name, WORDS[name], MEANINGS[name]) for name in verdicts if name],
        "reasons": [(name, REASONS[name]) for name in reasons if name in REASONS],
        "attack_sentence": attack_sentence(run),
        "warning": FIRED,
        "fired": fired(run),
        "with_images": run.shows_images,
        "cards": list(_cards(run, found)),
        "results": _parts(run),
        "result_columns": [*KEYS[1:], "verdict", *TESTS],
        "membership": _grid(run.membership, ("target", "score"), MEMBERSHIP),
        "result_remarks": [*_remarks(ran, ("method", "metric")), *_gap_remarks(gaps)],
        "control_remarks": _gap_remarks([row for row in run.controls if row["status"] != "ok"]),
        "membership_remarks": _remarks(run.membership, ("score",)),
        "images": [figure.name for figure in drawn if figure.name.startswith("images-")],
        "negative": _grid(negative, KEYS, CONTROLS, verdict="verdict"),
        "attack": _grid(attack, KEYS, CONTROLS, verdict="verdict"),
        "blind": _grid(blind, ("target", "design"), BLIND),
        "papers_count": _grid(counted, ("target", "method"), PAPERS_COUNT),
        "targets": _grid(run.targets, ("target", "description"), TARGETS),
        "scope": scope(run),
        "not_tested": not_tested(run),
        "limits": LIMITS,
        "alpha": run.alpha,
        "blind_limit": f"{100 * BLIND_LIMIT:.0f}",
        "all_rows": grid(pd.DataFrame(ran), without=("status",)),
        "gaps": grid(pd.DataFrame(gaps, columns=GAPS)),
    }


def _remarks(rows: list[Row], names: Sequence[str]) -> list[str]:
    """Return the reasons in the rows, each with the rows that have it."""
    found: dict[str, dict[str, None]] = {}
    ran: dict[str, None] = {}
    for row in rows:
        name = f"{' '.join(str(row[key]) for key in names)} on {row['target']}"
        if row["status"] == "ok":
            ran[name] = None
        if row["reason"]:
            found.setdefault(row["reason"], {})[name] = None
    return [
        f"{reason}: {'all that ran' if where.keys() == ran.keys() else ', '.join(where)}"
        for reason, where in found.items()
    ]


def _gap_remarks(gaps: list[Row]) -> list[str]:
    """Return why tests have no result, each reason with the number of them."""
    counts = Counter(map(why_without, gaps))
    return [f"{why} ({n} {'test' if n == 1 else 'tests'})" for why, n in counts.items()]


def _parts(run: LeakageRun) -> list[tuple[str, list[tuple[bool, list[str]]]]]:
    """Return the results by target: its name; per line whether any seed leaks, and its cells."""
    leaks = {tuple(str(row[name] or DASH) for name in KEYS) for row in run.rows if row["verdict"] == "leak"}
    parts: dict[str, list[tuple[bool, list[str]]]] = {}
    for target, *cells in over_seeds(run.rows, KEYS, TESTS, verdict="verdict").to_numpy().tolist():
        parts.setdefault(target, []).append(((target, *cells[:2]) in leaks, cells))
    return [(run.label(target), lines) for target, lines in parts.items()]


def _grid(rows: list[Row], keys: Sequence[str], figures: Figures, **more: str) -> dict[str, Any] | None:
    """Return rows over seeds as text for the templates, without figures that no row has."""
    frame = over_seeds(rows, keys, figures, **more)
    empty = [title for title in figures if title in frame and not "".join(frame[title])]
    return grid(frame, without=empty, numbers=list(figures))


def _cards(run: LeakageRun, found: list[Finding]) -> Iterator[tuple[str, str, str]]:
    """Yield title, figure and note of each number at the top of the page."""
    found = [item for item in found if not item.negative]
    tests = [row for item in found for row in item.tests]
    n_leaks = sum(row["verdict"] == "leak" for row in tests)
    yield "targets that leak", f"{sum(item.verdict == 'leak' for item in found)} of {len(found)}", "by any test"
    yield "tests that say leak", f"{n_leaks} of {len(tests)}", "over targets, methods, metrics and seeds"
    smallest = Finding("", tests).smallest
    if smallest is not None:
        place = f"{smallest['method']}, {smallest['metric']} on {smallest['target']}"
        yield "smallest Holm p", p_text(smallest["p_adjusted"]), place
    n_negative = sum(row["kind"] == "negative" for row in run.controls)
    verdict = "not run" if not n_negative else "fired" if fired(run) else "passed"
    yield "negative controls", verdict, f"{n_negative} tests where nothing can leak"
