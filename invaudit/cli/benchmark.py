"""``invaudit benchmark ood``, also ``python -m invaudit.benchmarks.ood``."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from invaudit.cli.options import Common, print_json

app = App(name="benchmark", help="Run a whole benchmark and make its tables and report.")


@app.command
def ood(
    *,
    detector: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    common: Common = Common(),  # noqa: B008
) -> int:
    """Compare the garbage-class detector with every detector of pytorch-ood.

    Without options: the embedded digits benchmark, three seeds, no download, a few minutes.

    Args:
        detector: A detector of your own beside them: package.module:Class; may be repeated.
    """
    common.start()
    from invaudit.benchmarks.ood import OODBenchmark, run
    from invaudit.runtime import load_config

    overrides = (*common.set, *((f"training.precision={common.precision}",) if common.precision else ()))
    settings = load_config(
        OODBenchmark,
        common.config or "ood/digits",
        overrides,
        seeds=common.seeds,
        device=common.device,
        detectors=detector or None,
    )
    folder = run(settings, common.folder(f"ood-{settings.name}"), resume=common.resume, workers=common.workers)
    _show(folder, as_json=common.json)
    return 0


def _show(folder: Path, *, as_json: bool) -> None:
    from invaudit.report import read_ood_run, short_table, terminal_table

    summary = read_ood_run(folder).summary
    if as_json:
        rows = short_table(summary)
        print_json({"folder": str(folder), "rows": rows.astype(object).where(rows.notna(), None).to_dict("records")})
        return
    from rich.console import Console

    # A pipe has no width of its own; 80 columns would fold the figures.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(terminal_table(summary))
    console.print(f"Results: {folder}/report.html, summary.csv, table.csv", highlight=False, soft_wrap=True)
