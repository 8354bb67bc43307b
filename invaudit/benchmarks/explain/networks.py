"""The networks of a benchmark: targets and the second network, trained once and kept, or loaded as they are."""

from pathlib import Path
from typing import NamedTuple

from invaudit.audit.attempts import attempt
from invaudit.benchmarks.explain.settings import SECOND, ExplainBenchmark, GivenNetwork
from invaudit.data import ImageSet, load, seeded_rng
from invaudit.data.joining import with_classes
from invaudit.explain.second import given_second, trained_second
from invaudit.models import Target, collect, limit_threads, load_model, resolve_device, save_target, train
from invaudit.models.devices import resolve_precision
from invaudit.ood import untrained_target
from invaudit.records.explain_table import ExplainNetworkRow
from invaudit.runtime.errors import DataError, ModelError
from invaudit.stats import Estimate, counted_share

NETWORKS = "networks"
"""Folder of the networks that a run has trained."""


class NetworkJob(NamedTuple):
    """One network that is trained, or loaded and looked at; ``seed`` is None where it was trained elsewhere."""

    network: str
    seed: int | None

    @property
    def name(self) -> str:
        """Name of its record."""
        return f"network-{self.network}" if self.seed is None else f"network-{self.network}-seed-{self.seed}"


def network_jobs(settings: ExplainBenchmark) -> list[NetworkJob]:
    """Return the networks of a benchmark, those that take longest first."""
    jobs = [second_job(settings)]
    for name in settings.targets:
        jobs += [NetworkJob(name, seed) for seed in settings.seeds_of(name)]
    jobs += [NetworkJob(name, None) for name in settings.released]
    return jobs


def second_job(settings: ExplainBenchmark) -> NetworkJob:
    """Return the job of the second network."""
    return NetworkJob(SECOND, None if settings.second_model else settings.seeds[0])


def target_job(settings: ExplainBenchmark, target: str, seed: int) -> NetworkJob:
    """Return the job of the network that a target is with a seed."""
    return NetworkJob(target, seed if target in settings.targets else None)


def load_labelled(data: str) -> ImageSet:
    """Load images that all have a class.

    Raises:
        MissingDataError: They are not there.
        DataError: Some have no class.
    """
    images = load(data)
    if int(images.labels.min()) < 0:
        raise DataError(f"{data} has images without labels, expected a class for each; give labelled data")
    return images


def given_network(settings: ExplainBenchmark, job: NetworkJob) -> GivenNetwork | None:
    """Return what a config says of a network that was trained elsewhere."""
    return settings.second_model if job.network == SECOND else settings.released.get(job.network)


def new_target(settings: ExplainBenchmark, job: NetworkJob, data: ImageSet) -> Target:
    """Return a target before its training."""
    rng = seeded_rng(job.seed or 0, f"target/{job.network}/weights")
    target = untrained_target(settings.targets[job.network].arch, data, data.classes, rng, garbage=False)
    target.class_names = data.class_names
    return target


def load_given(choice: GivenNetwork, data: ImageSet) -> Target:
    """Load a network that was trained elsewhere.

    Raises:
        MissingDataError: Its file is not there.
        ModelError: It cannot be read, or has other classes than the data.
    """
    target = choice.load(choice.model, data.shape)
    if target.classes != data.classes:
        raise ModelError(
            f"{choice.model} knows {target.classes} classes, {data.name} has {data.classes}; they must be the same"
        )
    return target


def run_network_job(settings: ExplainBenchmark, job: NetworkJob, folder: Path, *, device: str) -> ExplainNetworkRow:
    """Train a network and keep it, or load one, and measure it on the held-out images.

    Its file is written here, as a state of work is: no other job writes it, and the record tells that it is whole.
    """
    origin = "trained" if given_network(settings, job) is None else "given"
    with limit_threads(1):
        made = attempt(job.name, lambda: _made(settings, job, folder, device))
    if made.value is not None:
        return made.value
    status, reason = made.failure or ("failed", "")
    return ExplainNetworkRow(network=job.network, seed=job.seed, origin=origin, status=status, reason=reason)


def _made(settings: ExplainBenchmark, job: NetworkJob, folder: Path, device: str) -> ExplainNetworkRow:
    data, held_out = load_labelled(settings.data), load_labelled(settings.held_out)
    choice = given_network(settings, job)
    if choice is not None:
        network = load_given(choice, data).to(resolve_device(device))
        if job.network == SECOND:
            # Refuses one that does not fit, before it is asked about an inversion.
            given_second(network, _like(settings, data), held_out)
        return _row(job, network, held_out, origin="given")
    if job.network == SECOND:
        second = trained_second(
            _like(settings, data).to(resolve_device(device)),
            data,
            folder / NETWORKS,
            settings.second,
            held_out=held_out,
            seed=job.seed or 0,
        )
        file = None if second.file is None else str(second.file.relative_to(folder))
        return _row(job, second.network, held_out, origin="trained", file=file, seconds=second.seconds)
    target = new_target(settings, job, data).to(resolve_device(device))
    training = settings.targets[job.network].training
    history = train(
        target,
        data,
        training,
        seeded_rng(job.seed or 0, f"target/{job.network}/training"),
        precision=resolve_precision(training.precision, target.device),
        checkpoint=folder / "work" / f"{job.name}.pt",
    )
    file = f"{NETWORKS}/{job.network}-seed-{job.seed}.safetensors"
    save_target(target, folder / file)
    return _row(job, target, held_out, origin="trained", file=file, seconds=history.seconds)


def _like(settings: ExplainBenchmark, data: ImageSet) -> Target:
    """Return a network that has shape and classes of the data, and nothing else that counts."""
    target = untrained_target(settings.second.arch, data, data.classes, seeded_rng(0, "like"), garbage=False)
    target.class_names = data.class_names
    return target


def _row(
    job: NetworkJob,
    network: Target,
    held_out: ImageSet,
    *,
    origin: str,
    file: str | None = None,
    seconds: float | None = None,
) -> ExplainNetworkRow:
    accuracy = _accuracy(network, held_out)
    return ExplainNetworkRow.model_validate(
        {
            "network": job.network,
            "seed": job.seed,
            "origin": origin,
            "arch": network.arch,
            "accuracy": accuracy.value,
            "low": accuracy.low,
            "high": accuracy.high,
            "n": accuracy.n,
            "seconds": seconds,
            "hash": network.hash,
            "file": file,
            "status": "ok",
        }
    )


def _accuracy(network: Target, held_out: ImageSet) -> Estimate:
    images = with_classes(held_out, network.class_names, known_by="the network")
    predicted = collect(network, images, keep_maps=False).logits.argmax(1)
    return counted_share(int((predicted == images.labels).sum()), len(images))


def kept_network(
    settings: ExplainBenchmark, job: NetworkJob, row: ExplainNetworkRow, data: ImageSet, folder: Path
) -> Target:
    """Return a network that a job has trained or loaded.

    Raises:
        ModelError: Its file is not what the job has kept.
    """
    choice = given_network(settings, job)
    network = load_given(choice, data) if choice is not None else load_model(folder / str(row.file))
    if network.hash != row.hash:
        raise ModelError(f"{row.file or job.network} has changed since it was measured; make the run again")
    return network
