"""``invaudit invert``: what a network takes for each class."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from invaudit.cli.options import Common, Model, Whole, print_json
from invaudit.runtime.errors import ConfigError

if TYPE_CHECKING:
    from invaudit.inversion import InversionRun

WHAT_IT_MEANS = (
    "Inversion accuracy says how often this network gives the images their class. It says nothing of whether a person, "
    "or another network, would: look at the gallery."
)
app = App(name="invert", help="Show what a network takes for each class: a gallery with its diagnostics.")


@app.default
def invert(
    model: Path | None = None,
    /,
    *,
    data: str | None = None,
    by: Literal["generator", "pixels"] = "generator",
    images: Whole = 8,
    download: Annotated[bool, Parameter(negative="")] = False,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Find images that a network gives each of its classes, write a gallery of them, and say what they show.

    Args:
        model: The network, as --model.
        data: DATA: labelled images, by which the inversions are judged; a network that only guesses is refused.
        by: Search with a conditioned generator, or move the pixels of each image by itself.
        images: Inversions per class in the gallery.
        download: Fetch published weights that are not there; nothing is fetched otherwise.
    """
    common.start()
    if data is None:
        common.refuse("workers", where="without --data")
    if images < 1:
        raise ConfigError(f"--images {images}: expected at least 1")
    target = network.required(model, "to invert", common.device, download=download)
    from invaudit.inversion import InversionSettings, PixelInversionSettings, run_inversion
    from invaudit.inversion.shipped import shipped_config

    real = None
    if data is not None:
        from invaudit.data import load
        from invaudit.models.suitability import refuse_misfit

        real = load(data, wanted=target.spec.pictures, download=download)
        refuse_misfit(target, real, data)
    config = shipped_config(by, target.spec.channels)
    if by == "pixels":
        settings = common.settings(PixelInversionSettings, config)
    else:
        settings = common.settings(InversionSettings, config, precision_key="precision")
    folder = common.folder("invert")
    run = run_inversion(target, settings, folder, seed=common.seed(), images=images, resume=common.resume, real=real)
    _print(run, as_json=common.json)
    return 0


def _print(run: "InversionRun", *, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(run.folder), **run.report()})
        return
    print(f"Outcome: {run.inversion.outcome}. {run.inversion.message}")
    lowest = min(run.diagnosis.accuracy_per_class)
    print(f"Inversion accuracy {run.diagnosis.accuracy:.1%}, lowest class {lowest:.1%}")
    print(WHAT_IT_MEANS)
    print(f"Gallery: {run.folder}/figures/gallery.png")
