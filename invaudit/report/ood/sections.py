"""The sections of the page of an OOD run, each made by one function, in the order of `SECTIONS`."""

from collections.abc import Callable

from invaudit.records.names import COMPARED_GROUPS, ID_TEST, OURS
from invaudit.records.ood import (
    AttackRow,
    CalibrationRow,
    CostRow,
    DecisionRow,
    OodSummaryRow,
    ResistanceRow,
    WeightRow,
)
from invaudit.records.ood_run import OodRun
from invaudit.report.drawing import png
from invaudit.report.ood import figures
from invaudit.report.ood.findings import ControlSetRow, GapRow, compare, controls, gaps, trivial_sets
from invaudit.report.ood.tables import (
    N_BEST,
    NAME_COLUMNS,
    REFERENCE_PARTS,
    Key,
    measured,
    short_table,
    shown_columns,
)
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, PageFigure, Section, mean_grid, row_grid

HISTOGRAM_GROUPS = (*COMPARED_GROUPS, "shift", "seen")
"""Groups of OOD sets in the order of the histograms."""
PART_TITLES = {
    "ours": "",
    "reference": "",
    "other ours": "detectors of ours",
    "ablation": "ablations: ours on other networks, and the garbage class alone",
    "best near": f"best others on near OOD, up to {N_BEST} on the network of the first row and {N_BEST} elsewhere",
    "best far": "best others on far OOD, likewise",
    "pixels": "without a network: one minus the cosine to the nearest training image in pixels",
}
TERMS = {
    "mean-near, mean-far": (
        "AUROC in per cent, mean over the sets of the group and over seeds, ± sd over seeds: how often an OOD image "
        "scores higher than an ID image. 50 is guessing, 100 is perfect."
    ),
    "worst-near, worst": "AUROC of the hardest near set, and of the hardest of all near and far sets.",
    "FPR95 near": "Near OOD images accepted when 95 % of ID images are accepted; lower is better.",
    "difference": "This row minus the first in mean-near, in points, with its 95 % interval; negative is worse.",
    "network": (
        "full: our recipe. inversion: the papers' recipe, a garbage class fed with Gaussian noise and inversions. "
        "noise: fed with noise alone. plain: no garbage class. random: untrained. Other names: see the config below."
    ),
    "detector": "What turns an image into one score, higher = more OOD. Ours is joint, best on network full.",
}


def headline_comparison(run: OodRun) -> Section:
    """Return the reference against the best baselines, drawn for each set."""
    pictures = []
    if compare(run):
        caption = (
            "Each line is an OOD set, shaded lines are means. Left: further right is better; the weakest baselines "
            f"may lie off the axis. Right: left of the vertical line is worse than {_name(run)}."
        )
        alt = f"AUROC of {_name(run)} and of the best baselines on each set, and their difference to it"
        pictures.append(PageFigure("headline", png(figures.headline(run)), caption, alt))
    missing = "No near or far set has a row to compare with and a baseline, so no comparison is drawn."
    return Section("", figures=pictures, missing=missing)


def best_rows(run: OodRun) -> Section:
    """Return the reference, our other detectors and the best baselines as a short table."""
    parts: dict[str, list[GridRow]] = {}
    lines = short_table(run)
    shown = shown_columns(lines)
    for line in lines:
        cells = line.cells()
        row = GridRow([cells[place] for place in shown.values()], style="ours" if line.part in REFERENCE_PARTS else "")
        parts.setdefault(line.part, []).append(row)
    columns = []
    for name in shown:
        is_name = name in NAME_COLUMNS
        columns.append(GridColumn(name, wraps=not is_name, is_numeric=not is_name))
    grid_parts = []
    for part, rows in parts.items():
        grid_parts.append(GridPart(rows, PART_TITLES[part]))
    return Section(
        "Ours, its ablations and the best baselines" if run.compares_with_ours else "The best detectors, and ours",
        grid=Grid(columns, grid_parts, is_long=False),
        missing="No detector has a result in this run.",
    )


def meanings(run: OodRun) -> Section:
    """Return what the columns of the short table mean, and which sets are trivial."""
    remarks = []
    trivial = trivial_sets(run)
    if trivial:
        remarks.append(
            "Trivial sets, which a score without a network tells apart that stores no training image (AUROC 98 or "
            f"more, in either direction): {', '.join(trivial)}. They are marked, not left out."
        )
    return Section("What the columns mean", terms=tuple(TERMS.items()), remarks=remarks)


def _name(run: OodRun) -> str:
    """Return what texts call the row that is compared with, or where there is none what is shown of ours."""
    if run.reference is not None:
        return run.reference.name
    network, detector = _shown_row(run)
    return f"{detector} on {network}"


def _shown_row(run: OodRun) -> Key:
    """Return the reference, or where there is none our detector on the first network."""
    if run.reference is not None:
        return run.reference.row
    return next(iter(run.networks), ""), OURS[1]


def histograms(run: OodRun) -> Section:
    """Return how the scores of one detector lie on ID images and on each OOD set, for the first seed.

    It is the reference, or where there is none ours on the first network.
    """
    pictures = []
    network, detector = _shown_row(run)
    for seed in run.seeds[:1]:
        scores = run.scores(seed, network, detector)
        groups = {row.ood_set: row.group for row in run.summary}
        panels = {}
        for group in HISTOGRAM_GROUPS:
            for name, values in scores.items():
                if groups.get(name) == group:
                    panels[f"{name} ({group})"] = values
        if ID_TEST in scores and panels:
            caption = (
                f"Scores of {detector} on {network} (seed {seed}). Dashed: 95 % of ID lies to the left; OOD left of it "
                "is accepted (FPR95). The outermost bars hold everything beyond."
            )
            alt = "Histograms of the scores, ID against each OOD set"
            pictures.append(PageFigure("histograms", png(figures.histograms(scores[ID_TEST], panels)), caption, alt))
    missing = f"The run folder holds no scores of {detector} on {network}."
    return Section(f"Scores of {_name(run)}", figures=pictures, missing=missing)


def _inversion_networks(run: OodRun, seed: int) -> list[str]:
    """Return the networks with inversions, that of the reference first."""
    first, _ = _shown_row(run)
    return sorted(run.inverted_networks(seed), key=lambda network: (network != first, network))


def _inversion_figure(run: OodRun, seed: int, network: str) -> PageFigure:
    caption = f"Inversions of network {network} (seed {seed}): images that it takes for each class, one row per epoch."
    image = png(figures.inversions(*run.inversions(seed, network)))
    alt = "Inversions, one row per epoch and one column per class"
    return PageFigure(f"inversions-{network}", image, caption, alt)


def inversions(run: OodRun) -> Section | None:
    """Return the inversions of a network over the cycles of its training, for the first seed; None where none had any.

    The network is that of the reference, where it had some.
    """
    if not any(row.inversions for row in run.rows(CostRow)):
        return None
    pictures = []
    for seed in run.seeds[:1]:
        for network in _inversion_networks(run, seed)[:1]:
            pictures.append(_inversion_figure(run, seed, network))
    missing = "The run folder holds no inversions."
    return Section("Inversions over the cycles of training", figures=pictures, missing=missing)


def other_inversions(run: OodRun) -> Section | None:
    """Return the inversions of all other networks; None if there are none."""
    pictures = []
    for seed in run.seeds[:1]:
        for network in _inversion_networks(run, seed)[1:]:
            pictures.append(_inversion_figure(run, seed, network))
    return Section("Inversions of the other networks", figures=pictures, is_detail=True) if pictures else None


def attack_images(run: OodRun) -> Section | None:
    """Return what fresh generators make against a finished network, for the first seed; None where none were asked."""
    if not run.rows(ResistanceRow):
        return None
    pictures = []
    network, _ = _shown_row(run)
    for seed in run.seeds[:1]:
        images_by_attack = run.attack_images(seed, network)
        if images_by_attack:
            caption = (
                f"What fresh generators, trained against the finished network {network} (seed {seed}), make for each "
                "class, one row per attack; below each image whether joint accepts it at the false-alarm rate of the "
                "calibration table."
            )
            alt = "Images of each attack, one row per attack and one column per class"
            pictures.append(PageFigure("attacks", png(figures.attack_images(images_by_attack)), caption, alt))
    return Section("Images by fresh generators", figures=pictures, missing="The run folder holds no attack images.")


def all_rows(run: OodRun) -> Section:
    """Return every row of the summary that has a result."""
    return Section(
        "All rows",
        notes=("Rates, AUROC and differences in per cent; only rows with a result.",),
        grid=row_grid(OodSummaryRow, measured(run.summary), without=("id_set", "status", "reason")),
        missing="No row has a result.",
        is_detail=True,
    )


def what_did_not_run(run: OodRun) -> Section:
    """Return every row without a result, and why."""
    grid = row_grid(GapRow, gaps(run))
    return Section("What did not run, and why", grid=grid, missing="Every row has a result.", is_detail=True)


def control_rows(run: OodRun) -> Section:
    """Return how each control came out."""
    notes = [
        "control-same: the same ID images on the path of the OOD images, AUROC exactly 50. control-split: two halves "
        "of ID test against each other, AUROC near 50. A row that breaks its rule counts as failed."
    ]
    if not run.controls_passed:
        notes.append("The run holds no record of passed controls.")
    return Section(
        "Controls",
        notes=notes,
        lines=[f"Passed: {control}." for control in run.controls_passed],
        grid=row_grid(ControlSetRow, controls(run)),
        missing="The run recorded no control.",
        is_detail=True,
    )


def resistance(run: OodRun) -> Section:
    """Return how often each network takes fresh inversions for no class."""
    rows, pictures = run.rows(ResistanceRow), []
    if rows:
        caption = (
            "Share of fresh inversions, by generators unseen in training, that the network takes for no class. "
            "Bar: mean over seeds; dots: seeds."
        )
        pictures.append(PageFigure("resistance", png(figures.resistance(rows)), caption, "Resistance of each network"))
    return Section(
        "Resistance",
        figures=pictures,
        grid=row_grid(ResistanceRow, rows, without=("id_set",)),
        missing="Not recorded: resistance.csv is missing or empty.",
        is_detail=True,
    )


def attacks(run: OodRun) -> Section:
    """Return how many attack images each detector accepts."""
    return Section(
        "Attack images, by detector",
        notes=(
            "In per cent, means over seeds. accepted: attack images that the detector accepts at 5 % false alarms; "
            "passed: those of them that the network takes for a class as well; auroc: of the attack images against ID "
            "test.",
        ),
        grid=mean_grid(AttackRow, run.rows(AttackRow), "network", "detector", "attack"),
        missing="Not recorded: attacks.csv is missing or empty.",
        is_detail=True,
    )


def decisions(run: OodRun) -> Section:
    """Return how the garbage class decides when it is asked alone."""
    return Section(
        "Decisions of the garbage class alone",
        notes=("In per cent, means over seeds. garbage: images whose largest output is the garbage class.",),
        grid=mean_grid(DecisionRow, run.rows(DecisionRow), "network", "ood_set"),
        missing="Not recorded: decisions.csv is missing or empty.",
        is_detail=True,
    )


def weights(run: OodRun) -> Section:
    """Return how much each part of the joint score counts."""
    return Section(
        "Weights of the parts of joint",
        notes=(
            "Means over seeds: how much each part counts, which synthetic outliers give. A network without garbage "
            "class has no garbage part.",
        ),
        grid=mean_grid(WeightRow, run.rows(WeightRow), "network", "part"),
        missing="Not recorded: weights.csv is missing or empty.",
        is_detail=True,
    )


def calibration(run: OodRun) -> Section:
    """Return the false alarms of each threshold, and the ID accuracy."""
    return Section(
        "Calibration: false alarms and ID accuracy",
        notes=(
            "In per cent. alpha: false alarms that the threshold allows; false_alarms: those on ID test. ID accuracy "
            "counts a garbage prediction as an error.",
        ),
        grid=row_grid(CalibrationRow, run.rows(CalibrationRow), without=("id_set",)),
        missing="Not recorded: calibration.csv is missing or empty.",
        is_detail=True,
    )


def cost(run: OodRun) -> Section:
    """Return what the training of each network took."""
    return Section(
        "Cost",
        grid=row_grid(CostRow, run.rows(CostRow), without=("id_set",)),
        missing="Not recorded: cost.csv is missing or empty.",
        is_detail=True,
    )


SECTIONS: tuple[Callable[[OodRun], Section | None], ...] = (
    headline_comparison,
    best_rows,
    meanings,
    histograms,
    inversions,
    attack_images,
    all_rows,
    what_did_not_run,
    control_rows,
    other_inversions,
    resistance,
    attacks,
    decisions,
    weights,
    calibration,
    cost,
)
"""What gives each section; one that returns None is left out. To add a section, write its function and list it here."""
