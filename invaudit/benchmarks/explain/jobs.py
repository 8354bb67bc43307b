"""One job: invert a target by a variant with a seed, measure the images, and train a student where one is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from invaudit.audit.attempts import Attempt, Failure, attempt
from invaudit.benchmarks.explain.borders import BORDER_MEASURES, border_records
from invaudit.benchmarks.explain.networks import kept_network, load_labelled, second_job, target_job
from invaudit.benchmarks.explain.settings import ExplainBenchmark
from invaudit.data import ImageSet, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.data.joining import with_classes
from invaudit.explain.measures import MEANINGS, NO_SECOND, Measure, measure_inversions
from invaudit.explain.student import Student, train_student
from invaudit.inversion import Inversion, PixelInversion, draw_each, invert_by
from invaudit.models import Target, limit_threads, resolve_device
from invaudit.records.explain_table import (
    ExplainJobRecord,
    ExplainJobRow,
    ExplainNetworkRow,
    ExplainVariantRow,
    MeasureRecord,
)
from invaudit.records.folder import read_record
from invaudit.report import gallery, write_figure
from invaudit.report.drawing import LONGEST_CLASS
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child_seed
from invaudit.runtime.text import printable

SHOWN = 8
"""Inversions of each class in the gallery."""
STUDENT_MEASURES = ("student_accuracy", "student_inversion_accuracy")


def measure_names(settings: ExplainBenchmark, variant: str) -> list[str]:
    """Return the names of all that is measured of the inversions of a variant."""
    names = list(MEANINGS)
    if variant in settings.students:
        names += STUDENT_MEASURES
    if variant in settings.borders:
        names += BORDER_MEASURES
    return names


class InversionJob(NamedTuple):
    """What is done at once."""

    target: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its record and its gallery."""
        return f"seed-{self.seed}-{self.target}-{self.variant}"


def inversion_jobs(settings: ExplainBenchmark) -> list[InversionJob]:
    """Return the jobs of the selected variants, in the order of the tables."""
    jobs = []
    for target in (*settings.targets, *settings.released):
        for variant in settings.selected:
            wanted = settings.variants[variant].seeds
            for seed in settings.seeds_of(target):
                if not wanted or seed in wanted:
                    jobs.append(InversionJob(target, variant, seed))
    return jobs


@dataclass(frozen=True, eq=False)
class JobResult:
    """What a job gives, for whoever started it to write.

    Attributes:
        job: The job.
        record: Its record.
        pictures: (classes, k, C, H, W) uint8; None where there are none.
        titles: One for each class.
    """

    job: InversionJob
    record: ExplainJobRecord
    pictures: np.ndarray | None = None
    titles: Sequence[str] = ()

    def store(self, folder: RunFolder) -> None:
        """Write the gallery, then the record: it says that the job is done."""
        if self.pictures is not None:
            write_figure(gallery(self.pictures, self.titles), folder.path / "figures" / f"{self.job.name}.png")
        folder.finish(self.job.name, self.record.model_dump(mode="json"))


class _Networks(NamedTuple):
    target: Target
    second: Target | None
    real: ImageSet
    no_second: str


def run_inversion_job(settings: ExplainBenchmark, job: InversionJob, folder: Path, *, device: str) -> JobResult:
    """Do one job; whatever fails has rows that say why."""
    row = read_record(folder, target_job(settings, job.target, job.seed).name, ExplainNetworkRow)
    if row.status != "ok":
        return JobResult(job, _record(settings, job, Failure(row.status, f"network {job.target}: {row.reason}")))
    with limit_threads(1):
        networks = attempt(job.name, partial(_networks, settings, job, folder, device))
        if networks.value is None:
            return JobResult(job, _record(settings, job, networks.failure))
        return _run(settings, job, folder, networks.value)


def _run(settings: ExplainBenchmark, job: InversionJob, folder: Path, networks: _Networks) -> JobResult:
    inversion = attempt(job.name, partial(_inversion, settings, job, folder, networks))
    if inversion.value is None:
        return JobResult(job, _record(settings, job, inversion.failure))
    outcome = {"outcome": inversion.value.outcome, "message": inversion.value.message, "seconds": inversion.seconds}
    found = attempt(job.name, partial(_measured, settings, job, networks, inversion.value))
    if found.value is None:
        return JobResult(job, _record(settings, job, found.failure, **outcome))
    images, labels, measures = found.value
    records = [_measure_record(measure, networks.no_second) for measure in measures]
    if job.variant in settings.students:
        student = attempt(f"{job.name} student", partial(_student, settings, job, folder, networks, inversion.value))
        records += _student_records(student)
        if student.value is not None:
            outcome |= {"student_seconds": student.value.seconds, "student_images": student.value.n_inversions}
    if job.variant in settings.borders:
        records += _border_records(job, networks, inversion.value)
    record = _record(settings, job, found.failure, **outcome).model_copy(update={"measures": tuple(records)})
    return JobResult(job, record, *_gallery(networks.target, images, labels, measures))


def _networks(settings: ExplainBenchmark, job: InversionJob, folder: Path, device: str) -> _Networks:
    """Return what the job works on.

    Raises:
        InputError: The images are not there, or a network has changed.
    """
    data, held_out = load_labelled(settings.data), load_labelled(settings.held_out)
    work = resolve_device(device)
    target_of = target_job(settings, job.target, job.seed)
    row = read_record(folder, target_of.name, ExplainNetworkRow)
    target = kept_network(settings, target_of, row, data, folder).to(work)
    real = with_classes(held_out, target.class_names, known_by="the network")
    second_of = second_job(settings)
    second_row = read_record(folder, second_of.name, ExplainNetworkRow)
    if second_row.status != "ok":
        return _Networks(target, None, real, f"second network: {second_row.reason}")
    second = kept_network(settings, second_of, second_row, data, folder).to(work)
    return _Networks(target, second, real, NO_SECOND)


def _inversion(
    settings: ExplainBenchmark, job: InversionJob, folder: Path, networks: _Networks
) -> Inversion | PixelInversion:
    search = settings.variants[job.variant].search()
    checkpoint = folder / "work" / f"{job.name}.pt"
    return invert_by(networks.target, search, seed=job.seed, checkpoint=checkpoint, real=networks.real)


def _measured(
    settings: ExplainBenchmark, job: InversionJob, networks: _Networks, inversion: Inversion | PixelInversion
) -> tuple[Tensor, Tensor, list[Measure]]:
    images, labels = draw_each(inversion, settings.images, seeded_rng(job.seed, "explain/sample"))
    rng = np.random.default_rng(child_seed(job.seed, f"explain/measures/{job.target}/{job.variant}"))
    measures = measure_inversions(images, labels, networks.target, rng, second=networks.second, real=networks.real)
    return images, labels, measures


def _student(
    settings: ExplainBenchmark,
    job: InversionJob,
    folder: Path,
    networks: _Networks,
    inversion: Inversion | PixelInversion,
) -> Student:
    checkpoint = folder / "work" / f"{job.name}-student.pt"
    rng = seeded_rng(job.seed, f"student/{job.target}/{job.variant}")
    return train_student(inversion, networks.target, networks.real, rng, settings.student, checkpoint=checkpoint)


def _border_records(
    job: InversionJob, networks: _Networks, inversion: Inversion | PixelInversion
) -> list[MeasureRecord]:
    rng = seeded_rng(job.seed, f"borders/{job.target}/{job.variant}")
    generator = inversion if isinstance(inversion, Inversion) else None
    search = partial(border_records, networks.target, generator, networks.real, rng, second=networks.second)
    found = attempt(f"{job.name} borders", search)
    if found.value is not None:
        return found.value
    return _without_figures(BORDER_MEASURES, found.failure)


def _without_figures(names: Sequence[str], failure: Failure | None) -> list[MeasureRecord]:
    status, reason = failure or ("failed", "")
    return [MeasureRecord(measure=name, status=status, reason=reason) for name in names]


def _record(settings: ExplainBenchmark, job: InversionJob, failure: Failure | None, **went: object) -> ExplainJobRecord:
    variant = settings.variants[job.variant]
    status, reason = failure or ("ok", None)
    search = variant.search()
    text = yaml.safe_dump(search.model_dump(mode="json"), default_flow_style=True, sort_keys=False, width=10_000)
    row = ExplainVariantRow(
        variant=job.variant,
        engine=variant.engine,
        mode=variant.mode,
        settings=text.strip(),
    )
    values = {"target": job.target, "variant": job.variant, "seed": job.seed, "status": status, "reason": reason}
    return ExplainJobRecord(variant=row, job=ExplainJobRow.model_validate(values | went))


def _measure_record(measure: Measure, no_second: str) -> MeasureRecord:
    estimate = measure.estimate
    if estimate is None:
        reason = no_second if measure.reason == NO_SECOND else measure.reason
        return MeasureRecord(measure=measure.name, label=measure.label, status="not-applicable", reason=reason)
    return MeasureRecord(
        measure=measure.name,
        label=measure.label,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
    )


def _student_records(student: Attempt[Student]) -> list[MeasureRecord]:
    if student.value is None:
        return _without_figures(STUDENT_MEASURES, student.failure)
    found = student.value
    measures = [
        Measure(STUDENT_MEASURES[0], found.accuracy),
        Measure(STUDENT_MEASURES[1], found.inversion_accuracy),
    ]
    for label, estimate in enumerate(found.by_class):
        if estimate is not None:
            measures.append(Measure(STUDENT_MEASURES[0], estimate, label))
    return [_measure_record(measure, NO_SECOND) for measure in measures]


def _gallery(
    target: Target, images: Tensor, labels: Tensor, measures: Sequence[Measure]
) -> tuple[np.ndarray, list[str]]:
    """Return the first inversions of each class, and titles with what a second network says of all of them."""
    shares = {}
    for measure in measures:
        if measure.name == "second_accuracy" and measure.label is not None and measure.estimate is not None:
            shares[measure.label] = f": {measure.estimate.value:.0%}"
    rows, titles = [], []
    for label in range(target.classes):
        name = target.class_names[label] if target.class_names else str(label)
        rows.append(eight_bits(images[labels == label][:SHOWN]))
        titles.append(printable(name, LONGEST_CLASS) + shares.get(label, ""))
    return torch.stack(rows).numpy(), titles
