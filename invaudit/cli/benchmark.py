"""``invaudit benchmark ood|leakage|explain``, also ``python -m invaudit.benchmarks.ood`` and so on; and ``init``."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from invaudit.cli.options import AllowCode, Common, JobOptions, print_json, refuse_existing
from invaudit.cli.printing import print_table
from invaudit.runtime.console import say

app = App(
    name="benchmark",
    help="Run a whole benchmark and make its tables and report, or begin one of your own.",
)


@app.command
def ood(
    *,
    detector: Annotated[tuple[str, ...] | None, Parameter(negative="")] = None,
    allow_code: AllowCode = (),
    jobs: JobOptions = JobOptions(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Compare the garbage-class detector with every detector of pytorch-ood.

    Without options: the embedded digits benchmark, three seeds, no download, a few minutes.

    Args:
        detector: A detector of your own beside them: package.module:Class; may be repeated.
        allow_code: Code that the config names and that may be imported and run: package.module:NAME; may be repeated.
    """
    common.start()
    executor = jobs.choice(common)
    from invaudit.benchmarks.ood import OODBenchmark, run
    from invaudit.benchmarks.ood.runner import describe_failures

    settings = common.settings(
        OODBenchmark,
        "ood/digits",
        precision_key="training.precision",
        allow_code=(*allow_code, *(detector or ())),
        seeds=common.seeds,
        device=common.device,
        detectors=detector,
    )
    finished = run(settings, common.folder(f"ood-{settings.name}"), resume=common.resume, executor=executor)
    _print_ood(finished.folder, as_json=common.json)
    if finished.failures:
        say(describe_failures(finished.failures))
    return 0


@app.command
def leakage(
    *,
    download: bool | None = None,
    allow_code: AllowCode = (),
    jobs: JobOptions = JobOptions(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Reconstruct training images from networks that memorised them, and say which of them leak.

    Without options: the embedded digits benchmark, two seeds, no download, a few minutes.

    Args:
        download: Fetch the trunk weights of LPIPS where they are not found; its rows are skipped without them.
        allow_code: Code that the config names and that may be imported and run: package.module:NAME; may be repeated.
    """
    common.start("precision")
    executor = jobs.choice(common)
    from invaudit.benchmarks.leakage import LeakageBenchmark, run

    settings = common.settings(
        LeakageBenchmark,
        "leakage/digits",
        allow_code=allow_code,
        seeds=common.seeds,
        device=common.device,
        download=download,
    )
    folder = run(settings, common.folder(f"leakage-{settings.name}"), resume=common.resume, executor=executor)
    _print_leakage(folder, as_json=common.json)
    return 0


@app.command
def explain(
    *,
    allow_code: AllowCode = (),
    jobs: JobOptions = JobOptions(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Invert networks in several ways, and say by measures what the images are worth.

    Without options: the embedded digits, three seeds, no download, a few minutes. --set 'only=[default, pixels]' runs
    some variants; the same with --resume and others goes on.

    Args:
        allow_code: Code that the config names and that may be imported and run: package.module:NAME; may be repeated.
    """
    common.start("precision")
    executor = jobs.choice(common)
    from invaudit.benchmarks.explain import ExplainBenchmark, run

    settings = common.settings(
        ExplainBenchmark,
        "explain/digits",
        allow_code=allow_code,
        seeds=common.seeds,
        device=common.device,
    )
    folder = run(settings, common.folder(f"explain-{settings.name}"), resume=common.resume, executor=executor)
    _print_explain(folder, as_json=common.json)
    return 0


@app.command
def init(kind: Literal["ood", "leakage"] = "ood", /, *, out: Path = Path("benchmark.yaml")) -> int:
    """Write a commented config, to make a benchmark of your own from.

    It runs as it is, on the embedded digits, in under a minute. Comments say what each key means, and show how to name
    your own networks and images.

    Args:
        kind: The benchmark that it is for.
        out: File to write.
    """
    refuse_existing(out, "--out")
    from invaudit.benchmarks.starting import write_start

    command = write_start(kind, out)
    say(f"Written: {out}. Run it: {command}")
    return 0


def _print_leakage(folder: Path, *, as_json: bool) -> None:
    from invaudit.records import read_leakage_run
    from invaudit.report import leakage_table

    if as_json:
        print_json({"folder": str(folder), "rows": [row.model_dump() for row in read_leakage_run(folder).tests]})
    else:
        print_table(leakage_table(folder), f"Results: {folder}/report.html, table.csv, membership.csv")


def _print_explain(folder: Path, *, as_json: bool) -> None:
    from invaudit.records import read_rows
    from invaudit.records.explain_table import ExplainSummaryRow
    from invaudit.records.names import SUMMARY
    from invaudit.report.explain_benchmark import explain_benchmark_table

    rows = read_rows(folder / SUMMARY, ExplainSummaryRow)
    if as_json:
        print_json({"folder": str(folder), "rows": [row.model_dump() for row in rows]})
    else:
        print_table(explain_benchmark_table(rows), f"Results: {folder}/table.csv, summary.csv, figures/")


def _print_ood(folder: Path, *, as_json: bool) -> None:
    from invaudit.records import read_ood_run
    from invaudit.report import short_table, terminal_table

    run = read_ood_run(folder)
    if as_json:
        print_json({"folder": str(folder), "rows": [line.record() for line in short_table(run)]})
    else:
        print_table(terminal_table(run), f"Results: {folder}/report.html, summary.csv, table.csv")
