"""Puts the page of a leakage benchmark together."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.publish.pages.leakage import tables
from benchmarks.publish.pages.leakage.conclusions import cautions, conclusions, target_sentence
from benchmarks.publish.pages.leakage.record import LeakageRecord
from benchmarks.publish.pages.markdown import code, markdown_table
from benchmarks.publish.pages.provenance import provenance

PACKAGES = ("invaudit", "torch", "scikit-learn", "lpips")


def page(folder: Path) -> str:
    """Return the page of a recorded leakage run in Markdown."""
    record = LeakageRecord.read(folder)
    parts = [
        f"# Leakage: {folder.name.removeprefix('leakage-')}",
        "How to read the tables: [words of the leakage pages](README.md#how-to-read-the-leakage-pages).",
        provenance(folder, "invaudit.benchmarks.leakage", PACKAGES),
        _protocol(record),
        *_sections(record),
    ]
    return "\n\n".join(parts) + "\n"


def headline(folder: Path) -> str:
    """Return what a recorded leakage run shows, in one line."""
    record = LeakageRecord.read(folder)
    counts = []
    for target in record.names:
        counts.append(f"`{target}` {record.seeds_with_a_leak(target)} of {record.n_seeds(target)}")
    return f"seeds with a leak: {', '.join(counts)}"


def _protocol(record: LeakageRecord) -> str:
    config = record.config
    n_tests = len(config["methods"]) * len(config["metrics"])
    return (
        f"Data: `{config['data']}`. Seeds: {seeds_text(config['seeds'])}. Methods: "
        f"{', '.join(map(code, config['methods']))}. Metrics: {', '.join(config['metrics'])}. Level {config['alpha']}, "
        f"{config['draws']:,} draws; tests of a target and seed, over which Holm's correction runs: {n_tests}."
    )


def _sections(record: LeakageRecord) -> Iterator[str]:
    yield "## What it says"
    yield _bullets(target_sentence(record, target) for target in record.names)
    yield "What may be concluded:"
    yield _bullets(conclusions(record))
    yield "And what not:"
    yield _bullets(cautions(record))
    yield "## Targets"
    yield markdown_table(tables.TARGETS_HEAD, tables.target_rows(record))
    yield "## Verdicts"
    yield "By metric: seeds with *leak* / *no-evidence* / *inconclusive*."
    yield markdown_table(tables.verdict_head(record), tables.verdict_rows(record))
    yield "## Reconstructions"
    yield (
        "Means over seeds of what was tested. Similarities are in the units of the metric; LPIPS is a distance, so "
        "that lower is nearer."
    )
    yield markdown_table(tables.SIMILARITY_HEAD, tables.similarity_rows(record))
    yield "## Membership scores"
    yield (
        f"AUROC in per cent: mean ± sd over seeds, and in how many seeds p is at most {record.alpha} before any "
        "correction; where there is one seed, the 95 % interval over images and p."
    )
    yield markdown_table(("score", *map(code, record.names)), tables.membership_rows(record))
    papers_count = list(tables.papers_count_rows(record))
    if papers_count:
        yield "## The count of the KKT papers"
        yield "Images that a reconstruction matches with SSIM over 0.4, mean over seeds. It enters no verdict."
        yield markdown_table(tables.PAPERS_HEAD, papers_count)
    yield "## Controls"
    yield "Attack control, a network of ours that is known to leak; p by metric before correction:"
    yield markdown_table(("method", "finds its leak", *record.metrics), tables.attack_control_rows(record))
    yield "Blind baseline, a classifier that never sees the target and should not tell members from controls:"
    yield markdown_table(tables.BLIND_HEAD, tables.blind_baseline_rows(record))
    negatives = list(tables.negative_control_rows(record))
    if negatives:
        yield "Negative controls, networks of which nothing about the pool can leak:"
        yield markdown_table(tables.NEGATIVE_HEAD, negatives)


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def seeds_text(seeds: list[int]) -> str:
    """Return seeds as text, those in a row as a range."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
