"""``invaudit invert``: what a network takes for each class."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from invaudit.cli.options import Common, Model, Whole, print_json
from invaudit.runtime.errors import ConfigError

if TYPE_CHECKING:
    from invaudit.inversion import InversionRun

app = App(name="invert", help="Show what a network takes for each class: a gallery with its diagnostics.")


@app.default
def invert(
    model: Path | None = None,
    /,
    *,
    data: str | None = None,
    images: Whole = 8,
    download: Annotated[bool, Parameter(negative="")] = False,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Train a conditioned generator against a network and write a gallery per class.

    Args:
        model: The network, as --model.
        data: DATA: labelled images, to say whether the network gets them right with these options.
        images: Inversions per class in the gallery.
        download: Fetch published weights that are not there; nothing is fetched otherwise.
    """
    common.start("workers")
    if images < 1:
        raise ConfigError(f"--images {images}: expected at least 1")
    target = network.required(model, "to invert", common.device, download=download)
    from invaudit.inversion import InversionSettings, run_inversion

    if data is not None:
        from invaudit.data import load
        from invaudit.models.suitability import refuse_misfit

        refuse_misfit(target, load(data, wanted=target.spec.pictures, download=download), data)
    settings = common.settings(InversionSettings, "invert/default", precision_key="precision")
    folder = common.folder("invert")
    run = run_inversion(target, settings, folder, seed=common.seed(), images=images, resume=common.resume)
    _print(run, as_json=common.json)
    return 0


def _print(run: "InversionRun", *, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(run.folder), **run.report()})
        return
    print(f"Outcome: {run.inversion.outcome}. {run.inversion.message}")
    lowest = min(run.diagnosis.accuracy_per_class)
    print(f"Inversion accuracy {run.diagnosis.accuracy:.1%}, lowest class {lowest:.1%}")
    print(f"Gallery: {run.folder}/figures/gallery.png")
