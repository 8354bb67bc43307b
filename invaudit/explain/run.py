"""A run that a user starts: look into a network from all sides, into a folder with a page."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from invaudit.data import ImageSet
from invaudit.explain.budget import cut, seconds_per_pass, share_within
from invaudit.explain.figures import figure
from invaudit.explain.judging import Guard
from invaudit.explain.second import Second, given_second, trained_second
from invaudit.explain.settings import ExplainSettings
from invaudit.explain.stages import STAGES
from invaudit.explain.work import CHECKPOINT, Work, chosen_classes, of_classes
from invaudit.models import Target
from invaudit.models.suitability import refuse_misfit
from invaudit.records.explain import (
    EXPLAIN,
    EXPLAIN_RUN,
    ExplainedData,
    ExplainedModel,
    Explanation,
    PlanRecord,
    SecondNetwork,
    StageRecord,
)
from invaudit.records.folder import read_record
from invaudit.report import explain_page
from invaudit.runtime.console import notice
from invaudit.runtime.errors import InputError, RunFolderError, SettingError
from invaudit.runtime.files import npz_bytes, write_bytes, write_json
from invaudit.runtime.runs import RunFolder

PLAN = "plan"
"""Record of what it was to cost."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExplainRun:
    """An explanation that lies in a folder.

    Attributes:
        folder: Holds ``explain.json``, ``report.html``, and the arrays behind both.
        found: What ``explain.json`` holds.
    """

    folder: Path
    found: Explanation


def explain_model(
    target: Target,
    settings: ExplainSettings | None = None,
    out: str | Path = "explain",
    *,
    name: str = "model",
    data: ImageSet | None = None,
    second: Target | None = None,
    train_second_on: ImageSet | None = None,
    photos: ImageSet | None = None,
    guard: Guard | None = None,
    classes: int | Sequence[str] | None = None,
    resume: bool = False,
) -> ExplainRun:
    """Look into a network: what each class looks like to it, which classes touch, what fools it, what decides.

    Args:
        target: The network, on the device to work on.
        settings: How closely to look.
        out: Folder to make, or to continue.
        name: Name of the network on the page.
        data: Labelled real images that the network was not trained on.
        second: Another network of the same classes, which is asked about all that was made for the first one.
        train_second_on: In its place, labelled images to train one on.
        photos: Images, without labels, whose decisions are explained; by default the first ones of the data.
        guard: ``guard(images) -> accepted``: is asked which adversarial samples it accepts.
        classes: How many of the first classes are explained, or which, by name or number; by default all.
        resume: Continue the run that ``out`` holds.

    Raises:
        InputError: A network or images that do not fit each other, or settings out of their range.
        RunFolderError: The folder holds something else, or another run.
    """
    settings = settings or ExplainSettings()
    if second is not None and train_second_on is not None:
        raise SettingError("a second network and images to train one on are given; give one of them")
    first, named = (classes, ()) if isinstance(classes, int | None) else (None, classes)
    chosen = chosen_classes(target, first, named)
    for images in (data, train_second_on):
        if images is not None:
            refuse_misfit(target, images, images.name)
    given = given_second(second, target, data) if second is not None else None
    inputs = [target.hash, ",".join(map(str, chosen))]
    for source in (data, second, train_second_on, photos):
        inputs.append("" if source is None else source.hash)
    with RunFolder.open(Path(out), settings, kind=EXPLAIN_RUN, resume=resume, inputs=tuple(inputs)) as folder:
        if train_second_on is not None:
            given = trained_second(
                target, train_second_on, folder.path / "work", settings.second, held_out=data, seed=settings.seeds[0]
            )
        explained = target.of_classes(chosen)
        share = _share(folder, settings, explained, has_real=data is not None)
        work = Work(
            target=explained,
            settings=cut(settings, share, explained.spec.channels) if share < 1 else settings,
            place=folder.path,
            real=None if data is None else of_classes(data, chosen, target),
            second=None if given is None else replace(given, network=given.network.of_classes(chosen)),
            photos=photos,
            guard=guard,
        )
        records = {name: _done(work, folder, name) for name in STAGES}
        found = Explanation.model_validate(
            {
                "model": _model(target, work, chosen, name),
                "data": _data(work),
                "second": _second(given),
                "seed": work.seed,
                "share_of_steps": share,
                **records,
            }
        )
        write_json(folder.path / EXPLAIN, found.model_dump(mode="json"))
        explain_page(folder.path)
        for file in folder.path.glob(f"{CHECKPOINT}*"):
            file.unlink()
    return ExplainRun(folder.path, found)


def _share(folder: RunFolder, settings: ExplainSettings, target: Target, *, has_real: bool) -> float:
    """Return the share of all steps that the budget leaves, found once for each run, so that it goes on as it began."""
    if not settings.budget:
        return 1.0
    if folder.record(PLAN) is None:
        seconds = seconds_per_pass(target)
        share = share_within(settings.budget, target, settings, has_real=has_real, one_pass=seconds)
        folder.finish(PLAN, PlanRecord(seconds_per_pass=seconds, share=share).model_dump(mode="json"))
        notice(f"{share:.0%} of the steps of every search are done, for about {settings.budget:,.0f} s")
    return read_record(folder.path, PLAN, PlanRecord).share


def _done(work: Work, folder: RunFolder, name: str) -> StageRecord:
    """Return the record of a stage, done now or before; one that cannot be done says why."""
    stage = STAGES[name]
    if folder.record(name) is not None:
        return read_record(folder.path, name, stage.kind)
    notice(f"looking for {stage.label}")
    begun = time.perf_counter()
    try:
        record, arrays = stage.make(work)
    except RunFolderError:
        raise
    except InputError as error:
        if not stage.may_fail:
            raise
        record, arrays = stage.kind(status="skipped", reason=str(error)), {}
    write_bytes(folder.path / "scores" / f"{name}.npz", npz_bytes(arrays))
    folder.finish(name, record.model_dump(mode="json"))
    _log.info("stage %s: %s in %.1f s", name, record.status, time.perf_counter() - begun)
    return record


def _model(target: Target, work: Work, chosen: Sequence[int], name: str) -> ExplainedModel:
    known = work.target.class_names or (() if work.real is None else work.real.class_names)
    return ExplainedModel(
        name=name,
        hash=work.target.hash,
        architecture=target.arch,
        input=target.spec.shape,
        n_classes=target.classes,
        classes=tuple(chosen),
        class_names=known or tuple(map(str, chosen)),
        notes=tuple(target.notes),
    )


def _data(work: Work) -> ExplainedData | None:
    real = work.real
    if real is None:
        return None
    return ExplainedData(name=real.name, hash=real.hash, n=len(real), accuracy=len(work.rightly_answered()) / len(real))


def _second(second: Second | None) -> SecondNetwork | None:
    if second is None:
        return None
    return SecondNetwork(origin=second.origin, hash=second.network.hash, accuracy=figure(second.accuracy))
