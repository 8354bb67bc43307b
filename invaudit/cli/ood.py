"""``invaudit ood``: make a guard, use it, check it, calibrate it anew, and give it away as one file."""

import json as json_text
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from invaudit.cli.options import AllowCode, Common, Finite, Model, Whole, configure_threads, print_json, refuse_existing
from invaudit.cli.printing import print_columns
from invaudit.runtime import console
from invaudit.runtime.errors import ConfigError
from invaudit.runtime.text import printable

if TYPE_CHECKING:
    from invaudit.ood import FitRun, GuardCheck, GuardedClassifier, ImageScore, ScoreTally

SHOWN = 10
"""Images that a summary shows."""


@Parameter(name="*")
@dataclass(frozen=True)
class UseGuard:
    """Options of every command that uses a guard."""

    arch: str | None = None
    "package.module:callable of a network that code of yours builds: it is not run at a file's word."
    download: Annotated[bool, Parameter(negative="")] = False
    "Fetch a data set of torchvision that is not there; nothing is fetched otherwise."
    json: Annotated[bool, Parameter(negative="")] = False
    "Print one JSON object on stdout and nothing else."
    workers: Whole | None = None
    "Threads that read picture files; by default one for each core."

    def start(self, *, quiet: bool = False) -> None:
        """Make the console as quiet as asked, and say how many threads read picture files."""
        console.configure(quiet=self.json or quiet)
        configure_threads(self.workers)

    def load(self, folder: Path) -> "GuardedClassifier":
        """Return the guard that lies in a folder."""
        from invaudit.ood import GuardedClassifier

        return GuardedClassifier.load(folder, arch=self.arch)


app = App(name="ood", help="Make a classifier reject what it was not trained for.")


@app.command
def fit(
    data: str,
    *,
    as_it_is: Annotated[bool, Parameter(negative="")] = False,
    download: Annotated[bool, Parameter(negative="")] = False,
    allow_code: AllowCode = (),
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
        allow_code: An architecture of yours that the config names, package.module:callable; --arch allows its own.
    """
    common.start(*(("precision",) if as_it_is else ()))
    if as_it_is and model.model is None:
        raise ConfigError("--as-it-is needs --model: the network to take as it is")
    if as_it_is and any(text.startswith("recipe") for text in common.set):
        raise ConfigError("--set recipe changes nothing with --as-it-is; leave it out")
    if model.model is None and (model.mean or model.std):
        raise ConfigError("--mean and --std say how --model normalises; a new network measures its own: leave them out")
    model.fields()  # refused before anything is loaded
    new = model.spec() if model.model is None else None
    from invaudit.ood import FitSettings, run_fit

    settings = common.settings(
        FitSettings,
        "fit/scratch" if model.model is None else "fit/finetune",
        precision_key="recipe.training.precision",
        allow_code=(*allow_code, model.arch or ""),
        arch=model.arch if model.model is None else None,
        seed=None if common.seeds is None else common.seed(),
        device=common.device,
    )
    start, folder = model.load(download=download), common.folder("guard")
    run = run_fit(
        data,
        settings,
        folder,
        start=start,
        wanted=new.pictures if new else None,
        as_it_is=as_it_is,
        download=download,
        resume=common.resume,
    )
    _print_fit(run, as_json=common.json)
    return 0


def _print_fit(run: "FitRun", *, as_json: bool) -> None:
    from invaudit.models.settings import foreign_arch

    about = run.guarded.about
    if as_json:
        print_json({"folder": str(run.folder)} | {key: about[key] for key in ("suitability", "held_out", "synthetic")})
        return
    for line in _fit_lines(about["held_out"], about["synthetic"]):
        print(line)
    if about["suitability"] and (advice := about["suitability"]["advice"]):
        print(f"CHECK THE PREPROCESSING of the model, all of the above rests on it: {printable(advice)}")
    # A file must not choose which code runs, so an architecture of one's own is named again.
    arch = run.guarded.target.arch
    own = f" --arch {shlex.quote(arch)}" if arch and foreign_arch(arch) else ""
    print(f"Saved in {run.folder}; use it with: invaudit ood score {shlex.quote(str(run.folder))} DATA{own}")


def _fit_lines(held_out: dict[str, Any], synthetic: dict[str, Any] | None) -> Iterator[str]:
    """Say what was measured, with 95 % intervals."""
    before = held_out["id_accuracy_before"] is not None
    accuracy = _share(held_out, "id_accuracy")
    yield (
        f"Held out: {held_out['n']} images, accuracy {accuracy}"
        + (f", before training {_share(held_out, 'id_accuracy_before')}" if before else "")
        + f", false alarms at 5 %: {_share(held_out, 'false_alarms_at_5_percent')}"
    )
    if synthetic is None:
        return
    caught = synthetic["caught_at_5_percent"]
    least = min(caught, key=caught.__getitem__)
    yield (
        f"Synthetic outliers rejected at the same threshold: {synthetic['mean']:.0%} on average over {len(caught)} "
        f"families, least of {least}: {caught[least]:.0%}"
    )
    if synthetic["weak"]:
        yield (
            "WEAK GUARD: more than half of these outliers pass, though most are plain noise, strokes and patterns. "
            "Do not rely on it; a network that classifies better, or more images, may help"
        )


def _share(figures: dict[str, Any], name: str) -> str:
    """Return a share and its interval in per cent."""
    if figures[name] is None:
        return "too few calibration images"
    return f"{figures[name]:.1%} [{100 * figures[f'{name}_low']:.1f}, {100 * figures[f'{name}_high']:.1f}]"


@app.command
def score(
    guard: Path,
    data: str,
    *,
    alpha: Finite = 0.05,
    delta: Finite | None = None,
    out: Path | None = None,
    json_lines: Annotated[bool, Parameter(negative="")] = False,
    use: UseGuard = UseGuard(),
) -> int:
    """Score images: OOD score, p-value, accepted or rejected, predicted class.

    Args:
        guard: The folder that `invaudit ood fit` made.
        data: Images: the DATA grammar.
        alpha: False-alarm rate at most, for ID images like those of calibration.
        delta: Keep the rate for all but this share of calibration sets, e.g. 0.1; without it, on average over them.
        out: CSV file for one line per image; without it a summary is printed.
        json_lines: Print one JSON object a line for each image, as soon as it is judged, and nothing else.
    """
    use.start(quiet=json_lines)
    if out:
        refuse_existing(out, "--out")
    if json_lines and (use.json or out):
        raise ConfigError("--json-lines prints the images themselves; leave --json and --out out")
    from invaudit.ood import ImageScore, ScoreTally, stream_scores
    from invaudit.records import write_rows

    guarded = use.load(guard)
    tally = ScoreTally(alpha, delta, guarded.threshold(alpha, delta))
    rows = tally.counting(stream_scores(guarded, data, alpha=alpha, delta=delta, download=use.download))
    if json_lines:
        for row in rows:
            print(json_text.dumps(row.model_dump(), allow_nan=False), flush=True)
    elif out:
        write_rows(out, ImageScore, rows)
        _print_scores(tally, [], out, as_json=use.json)
    elif use.json:
        print_json({"images": [row.model_dump() for row in rows], **tally.summary()})
    else:
        first = list(islice(rows, SHOWN))
        for _ in rows:
            pass
        _print_scores(tally, first, out, as_json=False)
    return 0


def _print_scores(tally: "ScoreTally", first: "list[ImageScore]", out: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(tally.summary())
        return
    count = "1 image" if tally.n == 1 else f"{tally.n} images"
    print(
        f"{count}, {tally.rejected:.1%} rejected at a false-alarm rate of {tally.alpha:.1%}, "
        f"{_guarantee(tally.delta)} (threshold {tally.threshold:.3f})"
    )
    if out:
        print(f"One line per image: {out}")
    else:
        print_columns([row.model_dump() for row in first])


def _guarantee(delta: float | None) -> str:
    return f"{'on average' if delta is None else f'with probability {1 - delta:g}'} over calibration sets"


@app.command
def check(
    guard: Path,
    data: str,
    *,
    alpha: Finite = 0.05,
    delta: Finite | None = None,
    fail_on: Literal["too-many"] | None = None,
    use: UseGuard = UseGuard(),
) -> int:
    """Count the false alarms of a guard on new ID images: does the promised rate hold for them?

    Args:
        guard: The folder that `invaudit ood fit` made.
        data: New images of the guard's classes, labelled or not: the DATA grammar. Each rejection is a false alarm.
        alpha: The promised false-alarm rate.
        delta: As of `invaudit ood score`.
        fail_on: Exit with code 3 where the guard rejects more of the images than the promised rate explains.
    """
    use.start()
    from invaudit.ood import run_check

    guarded = use.load(guard)
    found = run_check(guarded, data, alpha=alpha, delta=delta, download=use.download)
    if use.json:
        print_json(found.record())
    else:
        for line in _check_lines(found, guard, data):
            print(line)
    return 3 if found.promise == fail_on else 0


def _check_lines(found: "GuardCheck", guard: Path, data: str) -> Iterator[str]:
    figures = found.record()
    low, high = found.band
    yield (
        f"{figures['n']} images, false alarms at {found.alpha:.1%}: {_share(figures, 'false_alarms')}; of images like "
        f"those of calibration {low:.1%} to {high:.1%} are expected, {_guarantee(found.delta)}"
    )
    if found.accuracy:
        yield f"Accuracy on the {found.accuracy.n} labelled ones: {_share(figures, 'accuracy')}"
    yield {
        "kept": "The promised rate is compatible with these images",
        "too-many": "The promised rate does NOT hold for these images: they differ from those of calibration. Set the "
        f"threshold anew with images of this kind: invaudit ood calibrate {guard} {data} --out NEW",
        "too-few": "Fewer false alarms than the promised rate explains: these images are more ordinary to the guard "
        "than those of calibration, as its training images are",
    }[found.promise]


@app.command
def calibrate(
    guard: Path,
    data: str,
    *,
    out: Path,
    use: UseGuard = UseGuard(),
) -> int:
    """Set the threshold of a guard anew, for images of another site; network and detector stay as they are.

    Args:
        guard: The folder that `invaudit ood fit` made.
        data: At least 45 ID images of the new site that the guard has not seen, labelled or not: the DATA grammar.
        out: Folder for the new guard.
    """
    use.start()
    refuse_existing(out, "--out")
    from invaudit.ood import run_calibrate
    from invaudit.ood.trial import usual_threshold

    earlier = use.load(guard)
    guarded = run_calibrate(earlier, data, out, download=use.download)
    before, now = usual_threshold(earlier), usual_threshold(guarded)
    if use.json:
        thresholds = {"threshold_at_5_percent": now, "threshold_at_5_percent_before": before}
        print_json({"folder": str(out), "n": len(guarded.calibration), **thresholds})
        return 0
    new, old = ("none" if value is None else f"{value:.3f}" for value in (now, before))
    print(
        f"Threshold at 5 %: {new}, by {len(guarded.calibration)} images; before: {old}, by {len(earlier.calibration)}"
    )
    print(f"Saved in {out}; use it with: invaudit ood score {out} DATA")
    return 0


@app.command
def export(
    guard: Path,
    out: Path,
    *,
    data: str | None = None,
    alpha: Finite = 0.05,
    delta: Finite | None = None,
    use: UseGuard = UseGuard(),
) -> int:
    """Write a guard as one ONNX file: classifier, score and decision, which onnxruntime serves without torch.

    Args:
        guard: The folder that `invaudit ood fit` made.
        out: File to write, e.g. guard.onnx; what a caller must know is written beside it, as guard.onnx.json.
        data: ID images to compare the file with torch on: the DATA grammar. Without them images are drawn, few of which
            look like those of calibration.
        alpha: False-alarm rate of the decision.
        delta: As of `invaudit ood score`.
    """
    use.start()
    for file in (out, out.with_name(f"{out.name}.json")):
        refuse_existing(file, "name")
    from invaudit.ood import run_export

    guarded = use.load(guard)
    comparison = run_export(guarded, out, data, alpha=alpha, delta=delta, download=use.download)
    if use.json:
        print_json({"file": str(out), "n": comparison.n, "difference": comparison.difference})
        return 0
    print(
        f"Saved {out}, and what a caller must know in {out}.json. Scores differ from torch's by "
        f"{comparison.difference:.1e} of their spread at most, on {comparison.n} images ({comparison.source})"
    )
    return 0
