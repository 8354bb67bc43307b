"""``invaudit leakage reconstruct`` and ``invaudit leakage score``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from invaudit.cli.options import Common, Model, print_json
from invaudit.cli.printing import print_table
from invaudit.runtime.errors import ConfigError

if TYPE_CHECKING:
    from invaudit.leakage import ReconstructionRun
    from invaudit.runtime import Settings

app = App(name="leakage", help="Reconstruct training images, and say whether reconstructions show a leak.")


@app.command
def reconstruct(
    model: Path | None = None,
    /,
    *,
    method: str = "kkt",
    reference: str | None = None,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Make images from a network alone that are meant to resemble its training images.

    Writes reconstructions.npz (images, labels), which ``invaudit leakage score`` takes, and a gallery.

    Args:
        model: The network, as --model.
        method: kkt, generator, tldr or deepinversion; --set sets its fields, e.g. --set restarts=1.
        reference: DATA: images of the same kind that the network was not trained on; they help most methods.
    """
    common.start("workers")
    target = network.required(model, "to reconstruct from", common.device)
    from invaudit.data import load
    from invaudit.leakage import run_reconstruction

    settings = _method_settings(method, common)
    images = load(reference) if reference is not None else None
    folder = common.folder("reconstructions")
    run = run_reconstruction(
        target, method, settings, folder, seed=common.seed(), reference=images, resume=common.resume
    )
    _print_reconstructions(run, as_json=common.json)
    return 0


def _method_settings(method: str, common: Common) -> "Settings":
    from invaudit.leakage import METHODS

    if method not in METHODS:
        raise ConfigError(f"--method {method!r} is unknown, expected one of {', '.join(METHODS)}")
    kind = METHODS[method].settings
    if "precision" in kind.model_fields:
        return common.settings(kind, precision_key="precision")
    common.refuse("precision", where=f"with --method {method}")
    return common.settings(kind)


def _print_reconstructions(run: "ReconstructionRun", *, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(run.folder), **run.report()})
        return
    print(f"Outcome: {run.reconstructions.outcome}. {run.reconstructions.message}")
    print(f"{len(run.reconstructions)} reconstructions: {run.folder}/reconstructions.npz")


@app.command
def score(
    reconstructions: str,
    members: str,
    controls: str,
    *,
    pairs: Path | None = None,
    groups: Path | None = None,
    reference: str | None = None,
    metric: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    images: Literal["none", "full"] | None = None,
    used_members: Annotated[bool, Parameter(negative="")] = False,
    drop_duplicates: Annotated[bool, Parameter(negative="")] = False,
    download: Annotated[bool, Parameter(negative="")] = False,
    fail_on: Literal["leak", "inconclusive"] | None = None,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Say whether reconstructions, by whatever attack, show that a network leaks its training images.

    Without --pairs the verdict assumes that members and controls differ in nothing but membership.

    Args:
        reconstructions: DATA: all images that the attack gave, e.g. reconstructions.npz.
        members: DATA: images that the network was trained on.
        controls: DATA: images of the same source that it was not trained on.
        pairs: CSV file with the columns member and control (positions from 0): same-class pairs of which a fair coin,
            tossed before training, named the member.
        groups: CSV file with the columns side (member or control), index (from 0) and group, e.g. the patient: without
            --pairs, the labels of a group move together.
        reference: DATA: further images of the source, for the cosine and for the scoring limit.
        metric: ssim, lpips-alex, lpips-squeeze or cosine, with :SIDE to resize first, e.g. --metric lpips-alex:32; may
            be repeated. All are one family of tests.
        images: full: keep images in the folder and show them in its report.
        used_members: Say so if any setting, choice or statistic of the attack used members: nothing is concluded then.
        drop_duplicates: Leave out images that are both member and control.
        download: Fetch the trunk weights of LPIPS where they are not found.
        fail_on: Exit with code 3 on a leak, or (inconclusive) also when nothing can be concluded.
    """
    common.start("precision", "workers")
    from invaudit.audit import ScoreSettings
    from invaudit.audit import score as run_score
    from invaudit.records import read_leakage_run
    from invaudit.report import leakage_table
    from invaudit.runtime import load_config, read_json

    settings = load_config(
        ScoreSettings,
        common.config,
        common.set,
        reconstructions=reconstructions,
        members=members,
        controls=controls,
        pairs=pairs,
        groups=groups,
        reference=reference,
        metrics=dict(map(_metric, metric)) or None,
        images=images,
        used_members=used_members or None,
        drop_duplicates=drop_duplicates or None,
        download=download or None,
        seeds=common.seeds,
        device=common.device,
    )
    folder = run_score(settings, common.folder("score"), resume=common.resume)
    if common.json:
        print_json({"folder": str(folder), "rows": [row.model_dump() for row in read_leakage_run(folder).tests]})
    else:
        print_table(leakage_table(folder), f"Results: {folder}/report.html, audit.json, neighbours.csv")
    verdict = read_json(folder / "audit.json")["targets"][0]["verdict"]
    # A test that failed has no verdict, which is no better than an inconclusive one.
    return 3 if fail_on and (verdict or "inconclusive") in ("leak", fail_on) else 0


def _metric(text: str) -> tuple[str, int | None]:
    name, found, side = text.partition(":")
    if found and not (side.isdigit() and int(side)):
        raise ConfigError(f"--metric {text!r}: expected NAME or NAME:SIDE, e.g. lpips-alex:32")
    return name, int(side) if found else None
