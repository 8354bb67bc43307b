"""Write docs/results/ from the recorded benchmarks: a page for each, and an index. No figure is typed by hand.

python -m benchmarks.publish.results_pages [--results benchmarks/results] [--out docs/results]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.publish.pages.explain.page import page as explain_page
from benchmarks.publish.pages.index import index
from benchmarks.publish.pages.leakage.page import page as leakage_page
from benchmarks.publish.pages.ood.page import page as ood_page
from invaudit.records import LEAKAGE_RUN, OOD_RUN, schema_of
from invaudit.records.folder import EXPLAIN_BENCHMARK_RUN
from invaudit.runtime import write_text

ROOT = Path(__file__).parents[2]


def pages(results: Path) -> dict[str, str]:
    """Return all pages by file name.

    Args:
        results: The folder of the records, `ood-NAME`, `leakage-NAME` and `explain-NAME`.

    Raises:
        RunFolderError: A record is of a version that cannot be read.
    """
    texts = {"README.md": index(results)}
    for folder in sorted(results.glob("ood-*")):
        schema_of(folder, OOD_RUN)
        texts[f"{folder.name}.md"] = ood_page(folder)
    for folder in sorted(results.glob("leakage-*")):
        schema_of(folder, LEAKAGE_RUN)
        texts[f"{folder.name}.md"] = leakage_page(folder)
    for folder in sorted(results.glob("explain-*")):
        schema_of(folder, EXPLAIN_BENCHMARK_RUN)
        texts[f"{folder.name}.md"] = explain_page(folder)
    return texts


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pages, and remove those whose record is gone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args(arguments)
    texts = pages(options.results)
    for name, text in texts.items():
        write_text(options.out / name, text)
    for old in options.out.glob("*.md"):
        if old.name not in texts:
            old.unlink()


if __name__ == "__main__":
    main()
