"""``invaudit benchmark ood|leakage``, also ``python -m invaudit.benchmarks.ood`` and ``... .leakage``."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from invaudit.cli.options import Common, print_json
from invaudit.cli.printing import print_table, records

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


@app.command
def leakage(
    *,
    download: Annotated[bool, Parameter(negative="")] = False,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Reconstruct training images from networks that know them by heart, and say which of them leak.

    Without options: the embedded digits benchmark, two seeds, no download, a few minutes.

    Args:
        download: Fetch the trunk weights of LPIPS where they are not found; its rows are skipped without them.
    """
    common.start("precision")
    from invaudit.benchmarks.leakage import LeakageBenchmark, run
    from invaudit.report import leakage_table, read_leakage_run
    from invaudit.runtime import load_config

    settings = load_config(
        LeakageBenchmark,
        common.config or "leakage/digits",
        common.set,
        seeds=common.seeds,
        device=common.device,
        download=download or None,
    )
    folder = run(settings, common.folder(f"leakage-{settings.name}"), resume=common.resume, workers=common.workers)
    if common.json:
        print_json({"folder": str(folder), "rows": records(read_leakage_run(folder).table)})
    else:
        print_table(leakage_table(folder), f"Results: {folder}/report.html, table.csv, membership.csv")
    return 0


def _show(folder: Path, *, as_json: bool) -> None:
    from invaudit.records import read_ood_run
    from invaudit.report import short_table, terminal_table

    run = read_ood_run(folder)
    if as_json:
        print_json({"folder": str(folder), "rows": [line.record() for line in short_table(run)]})
    else:
        print_table(terminal_table(run), f"Results: {folder}/report.html, summary.csv, table.csv")
