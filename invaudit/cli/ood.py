"""``invaudit ood fit`` and ``invaudit ood score``."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from invaudit.cli.options import Common, Model, print_json
from invaudit.runtime.errors import ConfigError, RunFolderError, ShapeError

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
        download: Fetch a data set of torchvision that is not there; nothing is fetched otherwise.
    """
    common.start("workers", *(("precision",) if as_it_is else ()))
    from invaudit.data import load, seeded_rng
    from invaudit.models import resolve_device
    from invaudit.ood import FitSettings, check_training_images
    from invaudit.ood import fit as fit_guard
    from invaudit.runtime import RunFolder, load_config

    if as_it_is and model.model is None:
        raise ConfigError("--as-it-is needs --model: the network to take as it is")
    settings = load_config(
        FitSettings,
        common.config or ("fit/finetune" if model.model else "fit/scratch"),
        (*common.set, *((f"recipe.training.precision={common.precision}",) if common.precision else ())),
        arch=model.arch.removeprefix("invaudit:") if model.arch and not model.model else None,
        seed=common.seed() if common.seeds else None,
        device=common.device,
    )
    device = resolve_device(settings.device)
    images = load(data, download=download)
    start = model.load()
    check_training_images(images, start, as_it_is=as_it_is)
    inputs = (images.hash, start.hash if start else "", str(as_it_is))
    with RunFolder.open(common.folder("guard"), settings, resume=common.resume, inputs=inputs, data=data) as folder:
        guarded = fit_guard(
            images,
            settings.recipe,
            seeded_rng(settings.seed, "ood/fit"),
            start=start,
            arch=settings.arch,
            as_it_is=as_it_is,
            device=device,
            checkpoint=folder.path / "work.pt",
        )
        guarded.save(folder.path)
        (folder.path / "work.pt").unlink(missing_ok=True)
    held_out = guarded.about["held_out"]
    if common.json:
        print_json({"folder": str(folder.path), "held_out": held_out})
    else:
        alarms = held_out.get("false_alarms_at_5_percent")
        said = "too few calibration images for 5 %" if alarms is None else f"{alarms:.1%}"
        print(f"Held out: {held_out['n']} images, accuracy {held_out['id_accuracy']:.1%}, false alarms at 5 %: {said}")
        print(f"Saved in {folder.path}; use it with: invaudit ood score {folder.path} DATA")
    return 0


@app.command
def score(
    guard: Path,
    data: str,
    *,
    alpha: float = 0.05,
    delta: float | None = None,
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
    if out and out.exists():
        raise RunFolderError(f"{out} exists already; choose another --out")
    import pandas as pd

    from invaudit.data import load
    from invaudit.ood import GuardedClassifier
    from invaudit.runtime import write_text

    guarded = GuardedClassifier.load(guard, arch=arch)
    images = load(data, download=download)
    if tuple(images.images.shape[1:]) != guarded.target.spec.shape:
        raise ShapeError(
            f"{data} holds images of shape {tuple(images.images.shape[1:])}, the network takes "
            f"{guarded.target.spec.shape} (channels, height, width); resize them as the training images were"
        )
    threshold = guarded.threshold(alpha, delta)
    found = guarded.activations(images)
    scores = guarded.joint.score(found)
    rows = pd.DataFrame(
        {
            "index": range(len(images)),
            "label": images.labels.numpy(),
            "predicted": found.logits[:, : guarded.target.classes].argmax(1).numpy(),
            "score": scores.numpy(),
            "p_value": guarded.p_values(scores).numpy(),
            "accepted": (scores <= threshold).numpy(),
        }
    )
    if out:
        write_text(out, rows.to_csv(index=False, lineterminator="\n"))
    rejected = float((scores > threshold).double().mean())
    result = {"n": len(rows), "alpha": alpha, "delta": delta, "threshold": threshold, "rejected": rejected}
    if json:
        print_json(result if out else {**result, "images": rows.to_dict("records")})
    else:
        kept = "on average" if delta is None else f"with probability {1 - delta:g}"
        print(
            f"{len(rows)} images, {result['rejected']:.1%} rejected at a false-alarm rate of {alpha:.1%}, {kept} over "
            f"calibration sets (threshold {threshold:.3f})"
        )
        print(f"One line per image: {out}" if out else rows.head(10).to_string(index=False))
    return 0
