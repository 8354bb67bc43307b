"""What is looked at before the first job of a benchmark: everything that would stop it, told at once."""

from contextlib import suppress

from invaudit.benchmarks.explain.networks import given_network, load_given, load_labelled, network_jobs, new_target
from invaudit.benchmarks.explain.settings import ExplainBenchmark
from invaudit.data import ImageSet
from invaudit.models.devices import resolve_device
from invaudit.models.settings import code_hashes
from invaudit.runtime.errors import MissingDataError, SettingError
from invaudit.runtime.files import content_hash
from invaudit.runtime.problems import Problems


def check_benchmark(settings: ExplainBenchmark) -> tuple[str, ...]:
    """Refuse a benchmark that could not run, before its first job.

    Returns:
        Hashes of images, searches, networks and code that a resumed run must find unchanged.

    Raises:
        InputError: All that is wrong, each with its remedy.
    """
    problems = Problems()
    inputs: list[str] = []
    with problems.noted("device"):
        resolve_device(settings.device)
    data: ImageSet | None = None
    with problems.noted("data"):
        data = load_labelled(settings.data)
        inputs.append(data.hash)
    with problems.noted("held_out"):
        inputs.append(load_labelled(settings.held_out).hash)
    with problems.noted("variants"):
        inputs += _check_variants(settings)
    for job in network_jobs(settings) if data is not None else ():
        with problems.noted(f"network {job.network}"):
            choice = given_network(settings, job)
            if choice is not None:
                # One that is not there has rows that say so.
                with suppress(MissingDataError):
                    inputs += [load_given(choice, data).hash, *code_hashes(choice.arch)]
            elif job.network in settings.targets and job.seed == settings.seeds_of(job.network)[0]:
                new_target(settings, job, data)
                inputs += code_hashes(settings.targets[job.network].arch)
    problems.refuse()
    return tuple(inputs)


def _check_variants(settings: ExplainBenchmark) -> list[str]:
    """Return a hash of the search of each variant, since its shipped config is not a part of the settings.

    Raises:
        SettingError: Two variants are the same search.
    """
    names: dict[str, str] = {}
    for name, variant in settings.variants.items():
        search = content_hash(variant.engine, variant.search().model_dump_json())
        if search in names:
            raise SettingError(f"{name!r} is the same search as {names[search]!r}; leave one of them out")
        names[search] = name
    return list(names)
