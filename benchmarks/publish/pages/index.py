"""The index of the pages: one line for each benchmark, and the words that the pages use."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.publish.pages.explain.page import headline as explain_headline
from benchmarks.publish.pages.leakage.page import headline as leakage_headline
from benchmarks.publish.pages.markdown import Cells, markdown_table
from benchmarks.publish.pages.ood.page import headline as ood_headline
from benchmarks.publish.pages.provenance import date_and_commit

HERE = Path(__file__).parent
HEAD = ("benchmark", "what it is", "headline", "date, commit")
SUBJECTS = {
    "ood-ablation-fashion-mnist": "FashionMNIST, 12,000 images: what each part of the training adds",
    "ood-ablation-mnist": "MNIST, 12,000 images: what each part of the training adds",
    "ood-cifar10": "CIFAR-10, 14,000 images, a small network: every detector of pytorch-ood",
    "ood-digits": "digits of scikit-learn, runs anywhere: every detector of pytorch-ood",
    "ood-fashion-mnist": "FashionMNIST, 55,000 images: every detector of pytorch-ood",
    "ood-mnist": "MNIST, 55,000 images: every detector of pytorch-ood",
    "ood-cifar10-released": "a ResNet-20 of CIFAR-10 that others trained, as it is",
    "ood-open-set-cifar10": "six known classes of CIFAR-10 against the other four",
    "ood-open-set-fashion-mnist": "six known classes of FashionMNIST against the other four",
    "ood-open-set-mnist": "six known classes of MNIST against the other four",
    "ood-ways-fashion-mnist": "FashionMNIST: three ways to use inversions beside sharpening",
    "ood-ways-mnist": "MNIST: three ways to use inversions beside sharpening",
    "leakage-digits": "small networks on digits, four attacks",
    "leakage-digits-negative": "forty networks of which nothing can leak: false alarms of one test",
    "leakage-digits-targets": "what makes a network of the digits leak: members, dropout, shifted images",
    "leakage-fashion-mnist-100": "100 members of FashionMNIST",
    "leakage-mnist-100": "100 members of MNIST",
    "leakage-mnist-500": "500 members of MNIST, odd against even digits",
    "leakage-released": "three models that others trained and released",
    "leakage-tldr-terms": "the nine terms of TLDR, each left out once",
    "explain-cifar10": "CIFAR-10: inversions of a released network and of ours, and what each choice is worth",
    "explain-digits": "digits of scikit-learn, runs anywhere: inversions, and what each choice is worth",
    "explain-fashion-mnist": "FashionMNIST: inversions of two networks, and what each choice is worth",
    "explain-mnist": "MNIST: inversions of two networks, and what each choice is worth",
}

OTHER_RECORDS = (
    ("joint_rules.json", "choices/joint_rules.py", "how `joint` joins its parts", "012-two-branches.md"),
    ("ood_recipes.json.gz", "choices/ood_recipes.py", "recipes of the OOD benchmarks", "007-what-inversion-earns.md"),
    ("verdict_calibration.csv", "choices/verdict_calibration.py", "how often the leakage verdict is wrong", None),
    ("reference_scores.json", "choices/reference_scores.py", "what is lost with few reference models", None),
    ("inversion_modes.csv", "choices/inversion_modes.py", "the four ways to ask for a class", None),
    ("attack_agreement.json", "choices/attack_agreement.py", "our attacks beside those of libraries", None),
    ("similarity.json", "speed/similarity.py", "speed of the exact search", None),
    ("one_pass.json", "speed/one_pass.py", "cost of scoring with every detector", None),
    ("many_photos.json", "speed/many_photos.py", "memory and speed of a guard of 20,000 photos", None),
    ("garbage_cycle.json", "speed/garbage_cycle.py", "cost of training with garbage", None),
)
"""Record, script, subject and decision of what has no page."""


def index(results: Path) -> str:
    """Return the index in Markdown."""
    parts = [
        "# Results",
        "One page for each recorded benchmark, written by `python -m benchmarks.publish.results_pages` from the tables "
        "in `benchmarks/results/`; no figure is typed by hand. In words: [OOD detection](../ood.md), "
        "[leakage](../leakage.md). Which choices were made, and on what: [decisions](../decisions).",
        "## OOD detection",
        "AUROC in per cent over the near sets; differences to ours in points, minus where the other is behind.",
        markdown_table(HEAD, _ood_lines(results)),
        "## Leakage",
        "Seeds in which any attack finds a leak by any metric.",
        markdown_table(HEAD, _leakage_lines(results)),
        *_explain_part(results),
        "## Choices and speed",
        "Measurements without a page of their own.",
        markdown_table(("record", "script", "what it is", "decision"), _other_lines()),
        "## How to read the OOD pages",
        (HERE / "words_ood.md").read_text(encoding="utf-8").strip(),
        "## How to read the leakage pages",
        (HERE / "words_leakage.md").read_text(encoding="utf-8").strip(),
        *_explain_words(results),
    ]
    return "\n\n".join(parts) + "\n"


def _ood_lines(results: Path) -> Iterator[Cells]:
    for folder in sorted(results.glob("ood-*")):
        yield _line(folder, ood_headline(folder))


def _leakage_lines(results: Path) -> Iterator[Cells]:
    for folder in sorted(results.glob("leakage-*")):
        yield _line(folder, leakage_headline(folder))


def _explain_part(results: Path) -> Iterator[str]:
    """Yield the part of what networks have learned, where a benchmark of it is recorded."""
    folders = sorted(results.glob("explain-*"))
    if folders:
        yield "## What networks have learned"
        yield "Share of the inversions that a second network gives the wanted class."
        yield markdown_table(HEAD, [_line(folder, explain_headline(folder)) for folder in folders])


def _explain_words(results: Path) -> Iterator[str]:
    if any(results.glob("explain-*")):
        yield "## How to read the pages of inversions"
        yield (HERE / "words_explain.md").read_text(encoding="utf-8").strip()


def _other_lines() -> Iterator[Cells]:
    for record, script, subject, decision in OTHER_RECORDS:
        yield (
            f"[{record}](../../benchmarks/results/{record})",
            f"[{script}](../../benchmarks/{script})",
            subject,
            "" if decision is None else f"[{decision.removesuffix('.md')}](../decisions/{decision})",
        )


def _line(folder: Path, headline: str) -> Cells:
    link = f"[{folder.name}]({folder.name}.md)"
    return link, SUBJECTS.get(folder.name, ""), headline, date_and_commit(folder)
