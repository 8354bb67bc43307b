"""``invaudit ood fit`` and ``invaudit ood score``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from invaudit.cli.options import Common, Finite, Model, print_json
from invaudit.runtime.errors import ConfigError, RunFolderError
from invaudit.runtime.paths import what_is

if TYPE_CHECKING:
    from invaudit.ood import FitRun, ImageScores

app = App(name="ood", help="Make a classifier reject what it was not trained for.")


@app.command
def fit(
    data: str,
    *,
    as_it_is: Annotated[bool, Parameter(negative="")] = False,
    download: Annotated[bool, Parameter(negative="")] = False,
    model: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Train or take a classifier, fit and calibrate its detector, and save both.

    Without --model a new network is trained by the garbage cycle. With --model a trained network is fine-tuned for a
    few epochs with a garbage class, or scored as it is (--as-it-is); DATA must then be images that it was not trained
    on, since scale and threshold come from them.

    Args:
        data: ID images with their classes: the DATA grammar, e.g. digits, mnist:train@0:10000, PATH.npz:train, PATH/.
            Without a split, test is taken where there is one.
        as_it_is: Do not train: fit the detector to the model as it is.
        download: Fetch a data set of torchvision, or published weights, that are not there; nothing is fetched
            otherwise.
    """
    common.start("workers", *(("precision",) if as_it_is else ()))
    if as_it_is and model.model is None:
        raise ConfigError("--as-it-is needs --model: the network to take as it is")
    if model.model is None and model.fields():
        raise ConfigError("--input, --mean and --std say what --model takes; give --model too")
    from invaudit.ood import FitSettings, run_fit

    settings = common.settings(
        FitSettings,
        "fit/scratch" if model.model is None else "fit/finetune",
        precision_key="recipe.training.precision",
        arch=model.arch if model.model is None else None,
        seed=None if common.seeds is None else common.seed(),
        device=common.device,
    )
    start, folder = model.load(download=download), common.folder("guard")
    run = run_fit(data, settings, folder, start=start, as_it_is=as_it_is, download=download, resume=common.resume)
    _print_fit(run, as_json=common.json)
    return 0


def _print_fit(run: "FitRun", *, as_json: bool) -> None:
    held_out = run.guarded.about["held_out"]
    if as_json:
        print_json({"folder": str(run.folder), "held_out": held_out})
        return
    rate = held_out.get("false_alarms_at_5_percent")
    alarms = "too few calibration images for 5 %" if rate is None else f"{rate:.1%}"
    print(f"Held out: {held_out['n']} images, accuracy {held_out['id_accuracy']:.1%}, false alarms at 5 %: {alarms}")
    print(f"Saved in {run.folder}; use it with: invaudit ood score {run.folder} DATA")


@app.command
def score(
    guard: Path,
    data: str,
    *,
    alpha: Finite = 0.05,
    delta: Finite | None = None,
    arch: str | None = None,
    download: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Score images: OOD score, p-value, accepted or rejected, predicted class.

    Args:
        guard: The folder that `invaudit ood fit` made.
        data: Images: the DATA grammar.
        alpha: False-alarm rate at most, for ID images like those of calibration.
        delta: Keep the rate for all but this share of calibration sets, e.g. 0.1; without it, on average over them.
        arch: package.module:callable of a network that code of yours builds: it is not run at a file's word.
        download: Fetch a data set of torchvision that is not there; nothing is fetched otherwise.
        out: CSV file for one line per image; without it a summary is printed.
        json: Print one JSON object on stdout and nothing else.
    """
    if out and what_is(out, RunFolderError):
        raise RunFolderError(f"{out} exists already; choose another --out")
    from invaudit.ood import GuardedClassifier, ImageScore, score_images
    from invaudit.records import write_rows

    guarded = GuardedClassifier.load(guard, arch=arch)
    scores = score_images(guarded, data, alpha=alpha, delta=delta, download=download)
    if out:
        write_rows(out, ImageScore, scores.rows)
    _print_scores(scores, out, as_json=json)
    return 0


def _print_scores(scores: "ImageScores", out: Path | None, *, as_json: bool) -> None:
    summary = scores.summary()
    if as_json:
        images = {} if out else {"images": [row.model_dump() for row in scores.rows]}
        print_json(summary | images)
        return
    guarantee = "on average" if scores.delta is None else f"with probability {1 - scores.delta:g}"
    print(
        f"{summary['n']} images, {scores.rejected:.1%} rejected at a false-alarm rate of {scores.alpha:.1%}, "
        f"{guarantee} over calibration sets (threshold {scores.threshold:.3f})"
    )
    if out:
        print(f"One line per image: {out}")
        return
    from pandas import DataFrame

    print(DataFrame([row.model_dump() for row in scores.rows[:10]]).to_string(index=False))
