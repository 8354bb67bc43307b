"""``invaudit explain``: what a network has learned."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from invaudit.cli.options import Common, Duration, Model, SeveralData, SeveralFiles, Whole, print_json
from invaudit.runtime.errors import ConfigError
from invaudit.runtime.numbers import whole_number

if TYPE_CHECKING:
    from invaudit.data import ImageSet
    from invaudit.explain import ExplainRun
    from invaudit.explain.judging import Guard


def explain(
    model: Path | None = None,
    /,
    *,
    data: str | None = None,
    second_model: Path | None = None,
    train_second_on: str | None = None,
    by: Literal["generator", "pixels"] | None = None,
    classes: SeveralData | None = None,
    image: SeveralFiles | None = None,
    images: Whole | None = None,
    guard: Path | None = None,
    budget: Duration | None = None,
    download: Annotated[bool, Parameter(negative="")] = False,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Show what a network has learned: what each class looks like to it, which classes touch, what fools it.

    Args:
        model: The network, as --model.
        data: DATA: labelled images that the network was not trained on; much of the page needs them.
        second_model: MODEL: another network of the same classes. It is asked whether it sees the class, too.
        train_second_on: DATA: in its place, labelled images to train one on, which takes minutes.
        by: Search with a conditioned generator (the default), or move the pixels of each image by itself, which suits
            large images and many classes.
        classes: How many of the first classes to explain, or their names; by default all.
        image: Pictures whose decisions are explained, by default the first ones of the data.
        images: Inversions of each class that are kept and shown.
        guard: Folder of `invaudit ood fit`: it is asked which adversarial samples it accepts, at 5 % false alarms.
        budget: Time for all of it, about, e.g. 90s, 20m or 3h; steps are cut for it. By default as long as it takes.
        download: Fetch published weights or data that are not there; nothing is fetched otherwise.
    """
    common.start("precision")
    if not (data or train_second_on or image):
        common.refuse("workers", where="without pictures")
    if second_model is not None and train_second_on is not None:
        raise ConfigError("--second-model and --train-second-on are given; one second network is enough")
    target = network.required(model, "to explain", common.device, download=download)
    from invaudit.data import load
    from invaudit.data.joining import joined
    from invaudit.explain import ExplainSettings, explain_model
    from invaudit.models.alike import load_alike

    def pictures(text: str | Path | None) -> "ImageSet | None":
        return None if text is None else load(text, wanted=target.spec.pictures, download=download)

    settings = common.settings(ExplainSettings, by=by, images=images, budget=budget, seeds=common.seeds)
    second = None
    if second_model is not None:
        second = load_alike(second_model, target, "the second model", download=download).to(target.device)
    run = explain_model(
        target,
        settings,
        common.folder("explain"),
        name=(model or network.model or Path("model")).name,
        data=pictures(data),
        second=second,
        train_second_on=pictures(train_second_on),
        photos=None if image is None else joined([load(file, wanted=target.spec.pictures) for file in image]),
        guard=None if guard is None else _acceptance(guard),
        classes=_classes(classes),
        resume=common.resume,
    )
    _print(run, as_json=common.json)
    return 0


def _acceptance(folder: Path) -> "Guard":
    """Return what tells which images the guard of a folder accepts."""
    from invaudit.ood import GuardedClassifier

    guarded = GuardedClassifier.load(folder)
    return lambda images: guarded.judge(images).accepted


def _classes(words: tuple[str, ...] | None) -> int | tuple[str, ...] | None:
    """Return how many classes are meant by one number, else which ones."""
    number = whole_number(words[0]) if words is not None and len(words) == 1 else None
    return words if number is None else number


def _print(run: "ExplainRun", *, as_json: bool) -> None:
    from invaudit.records.explain import EXPLAIN, STAGES

    found = run.found
    if as_json:
        print_json({"folder": str(run.folder), **found.model_dump(mode="json")})
        return
    print(f"Search by {found.inversion.by}: {found.inversion.outcome}. {found.inversion.message}")
    for name in ("second_accuracy", "second_accuracy_real"):
        for row in found.measures.measures:
            if row.name == name and row.label is None and row.figure is not None:
                whose = "real images" if name.endswith("_real") else "these pictures"
                print(f"A second network gives {row.figure.value:.1%} of {whose} their class")
    for name in STAGES:
        record = getattr(found, name)
        if record.status != "ok":
            print(f"{name}: {record.status}, {record.reason}")
    print(f"Results: {run.folder}/report.html, {EXPLAIN}")
