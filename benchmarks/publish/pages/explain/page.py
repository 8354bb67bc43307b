"""Puts the page of a benchmark of explanations together."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.publish.pages.explain.record import DEFAULT, ExplainRecord
from benchmarks.publish.pages.leakage.page import seeds_text
from benchmarks.publish.pages.markdown import Cells, code, markdown_table, mean_and_sd, percent, points_with_interval
from benchmarks.publish.pages.provenance import provenance
from benchmarks.publish.pages.seeds import paired_difference
from invaudit.records.explain_table import WORST, class_measure
from invaudit.report.printing import DASH

PACKAGES = ("invaudit", "torch", "lpips")
SECOND = "second_accuracy"
SHOWS = {
    "second network": SECOND,
    "its worst class": class_measure(SECOND, WORST),
    "precision": "precision",
    "coverage": "coverage",
    "density": "density",
}
"""Head of a column -> the measure in it, of tables that say whether inversions are like real images."""
DIFFERS = {"features": "feature_cosine", "pixels": "pixel_cosine", "SSIM": "ssim", "LPIPS": "lpips"}
"""The same of how alike the inversions of a class are."""
REAL = "*real images*"


def page(folder: Path) -> str:
    """Return the page of a recorded benchmark of explanations in Markdown."""
    record = ExplainRecord.read(folder)
    parts = [
        f"# What networks have learned: {folder.name.removeprefix('explain-')}",
        "How to read the tables: [words of these pages](README.md#how-to-read-the-pages-of-inversions).",
        provenance(folder, "invaudit.benchmarks.explain", PACKAGES),
        _protocol(record),
        "## Networks",
        markdown_table(("network", "seed", "origin", "architecture", "held-out accuracy"), _network_lines(record)),
        *(part for target in record.targets for part in _sections(record, target)),
        "## Variants",
        "The settings of each search, resolved.",
        "\n".join(_variant_lines(record)),
    ]
    return "\n\n".join(parts) + "\n"


def headline(folder: Path) -> str:
    """Return what a recorded benchmark of explanations shows, in one line."""
    record = ExplainRecord.read(folder)
    said = []
    for target in record.targets:
        values = record.values(target, DEFAULT, SECOND)
        said.append(f"`{target}` {mean_and_sd(values, decimals=1) if len(values) else DASH}")
    return f"second network on the default's inversions: {', '.join(said)} %"


def _protocol(record: ExplainRecord) -> str:
    config = record.config
    return (
        f"Trained on `{config['data']}`, measured against `{config['held_out']}`. "
        f"Seeds: {seeds_text(config['seeds'])}. "
        f"Inversions of each class that are measured: {config['images']}, by pixels as many as were searched for. "
        f"Students see at most {config['student']['inversions']:,}."
    )


def _network_lines(record: ExplainRecord) -> Iterator[Cells]:
    for row in record.networks.itertuples():
        accuracy = f"{percent(row.accuracy)} [{percent(row.low)}; {percent(row.high)}]"
        if row.status != "ok":
            accuracy = f"{row.status}: {row.reason}"
        seed = "" if row.origin == "given" else str(int(row.seed))
        arch = row.arch if isinstance(row.arch, str) else DASH
        yield code(row.network), seed, row.origin, arch, accuracy


def _sections(record: ExplainRecord, target: str) -> Iterator[str]:
    yield f"## {target}"
    missing = list(_missing_lines(record, target))
    if (record.table.loc[record.table["target"] == target, "status"] != "ok").all():
        yield "Nothing was measured:"
        yield "\n".join(missing)
        return
    yield (
        "In per cent, mean ± sd over seeds; of one seed, the value with its 95 % interval over images. *difference*: "
        "by how many points the second network's figure differs from that of the default, over the same seeds."
    )
    head = ("variant", "mode", "seeds", *SHOWS, "difference", "outcomes")
    yield markdown_table(head, _shows_lines(record, target))
    yield "How alike the inversions of a class are (LPIPS is a distance: the lower, the more alike):"
    yield markdown_table(("variant", *DIFFERS), _differs_lines(record, target))
    students = list(_student_lines(record, target))
    if students:
        yield "Students, which see inversions alone, on real images:"
        yield markdown_table(("variant", "real images", "worst class", "inversions", "seconds"), students)
    borders = list(_border_lines(record, target))
    if borders:
        yield (
            "Borders of pairs of classes: both at 45 % at least, and within 2 points of each other. Distances are "
            "Euclidean, medians over pairs, beside the nearest image of any other class that DDN finds from the same "
            "start; *undecided*: the second network gives no class over 80 %."
        )
        yield markdown_table(("variant", "pairs reached", "largest gap", "distance", "DDN", "undecided"), borders)
    if missing:
        yield "Without a figure:"
        yield "\n".join(missing)


def _shows_lines(record: ExplainRecord, target: str) -> Iterator[Cells]:
    for variant in record.variants_of(target):
        rows = record.rows(target, variant, SECOND)
        mode = rows["mode"].iloc[0]
        figures = [_figure(record, target, variant, measure) for measure in SHOWS.values()]
        values, default = record.values(target, variant, SECOND), record.values(target, DEFAULT, SECOND)
        difference = ""
        if variant != DEFAULT and len(values) and len(default):
            difference = points_with_interval(*paired_difference(values, default))
        name = mode if isinstance(mode, str) else "pixels"
        yield code(variant), name, str(len(values)), *figures, difference, _outcomes(record, target, variant)
    yield _real_line(record, target, SHOWS, (REAL, "", ""), 2)


def _differs_lines(record: ExplainRecord, target: str) -> Iterator[Cells]:
    for variant in record.variants_of(target):
        yield code(variant), *(_figure(record, target, variant, measure) for measure in DIFFERS.values())
    yield _real_line(record, target, DIFFERS, (REAL,), 0)


def _real_line(record: ExplainRecord, target: str, columns: dict[str, str], before: Cells, after: int) -> Cells:
    """Return the same figures for real images, by the job of the first variant and all seeds."""
    variant = record.variants_of(target)[0]
    figures = []
    for measure in columns.values():
        name, slash, of = measure.partition("/")
        figures.append(_figure(record, target, variant, f"{name}_real{slash}{of}"))
    return (*before, *figures, *("" for _ in range(after)))


def _student_lines(record: ExplainRecord, target: str) -> Iterator[Cells]:
    jobs = record.jobs[record.jobs["target"] == target]
    for variant in record.variants_of(target):
        if record.rows(target, variant, "student_accuracy").empty:
            continue
        of_variant = jobs[jobs["variant"] == variant]
        seconds = of_variant["student_seconds"].mean()
        yield (
            code(variant),
            _figure(record, target, variant, "student_accuracy"),
            _figure(record, target, variant, class_measure("student_accuracy", WORST)),
            _figure(record, target, variant, "student_inversion_accuracy"),
            DASH if seconds != seconds else f"{seconds:.0f}",
        )


def _border_lines(record: ExplainRecord, target: str) -> Iterator[Cells]:
    for variant in record.variants_of(target):
        if record.rows(target, variant, "border_reached").empty:
            continue
        largest_gap = record.rows(target, variant, "border_gap")["value"].max()
        yield (
            code(variant),
            _figure(record, target, variant, "border_reached"),
            DASH if largest_gap != largest_gap else f"{largest_gap:.1g}",
            _mean_of(record, target, variant, "border_distance"),
            _mean_of(record, target, variant, "border_attack_distance"),
            _figure(record, target, variant, "border_undecided"),
        )


def _mean_of(record: ExplainRecord, target: str, variant: str, measure: str) -> str:
    """Return the mean over seeds of what is no share."""
    mean = record.rows(target, variant, measure)["value"].mean()
    return DASH if mean != mean else f"{mean:.3g}"


def _figure(record: ExplainRecord, target: str, variant: str, measure: str) -> str:
    rows = record.rows(target, variant, measure).dropna(subset=["value"])
    if rows.empty:
        return DASH
    if len(rows) == 1 and rows["low"].notna().all():
        row = rows.iloc[0]
        value, low, high = (percent(row[name], decimals=1) for name in ("value", "low", "high"))
        return f"{value} [{low}; {high}]"
    return mean_and_sd(rows["value"], decimals=1)


def _outcomes(record: ExplainRecord, target: str, variant: str) -> str:
    """Return how the searches of all seeds ended, with their number where there are several."""
    rows = record.jobs[(record.jobs["target"] == target) & (record.jobs["variant"] == variant)]
    counts = rows["outcome"].fillna("none").value_counts(sort=False)
    return ", ".join(outcome if len(rows) == 1 else f"{n} {outcome}" for outcome, n in counts.items())


def _missing_lines(record: ExplainRecord, target: str) -> Iterator[str]:
    """Yield each reason why there is no figure, with the measures that it holds for."""
    rows = record.table[(record.table["target"] == target) & (record.table["status"] != "ok")]
    for reason, of_reason in rows.groupby("reason", sort=False):
        measures = ", ".join(map(code, of_reason["measure"].unique()))
        variants = list(of_reason["variant"].unique())
        of = "" if variants == record.variants_of(target) else f" of {', '.join(map(code, variants))}"
        yield f"- {measures}{of}: {reason}"


def _variant_lines(record: ExplainRecord) -> Iterator[str]:
    for row in record.variants.itertuples():
        yield f"- {code(row.variant)}, {row.engine}: {code(row.settings)}"
