"""What is looked at before the first job of a benchmark: everything that would stop it, told at once."""

from typing import NamedTuple

from invaudit.benchmarks.ood.networks import new_network, numbered_as
from invaudit.benchmarks.ood.sets import Sets, load_sets
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.data import seeded_rng
from invaudit.data.vision import import_torchvision
from invaudit.inversion import InversionSettings, Inverter
from invaudit.models import Target
from invaudit.models.devices import resolve_device
from invaudit.models.settings import code_hashes
from invaudit.models.suitability import refuse_misfit
from invaudit.ood import make_detector
from invaudit.ood.detector import source_of
from invaudit.runtime.files import content_hash
from invaudit.runtime.problems import Problems


class Checked(NamedTuple):
    """A benchmark that can run.

    Attributes:
        sets: The sets of the first seed.
        inputs: Hashes of images, networks and code that a resumed run must find unchanged.
    """

    sets: Sets
    inputs: tuple[str, ...]


def check_benchmark(settings: OODBenchmark) -> Checked:
    """Refuse a benchmark that could not run, before its first job: for its device, its data, its networks, its code.

    Raises:
        InputError: All that is wrong, each with its remedy.
    """
    problems = Problems()
    inputs: list[str] = []
    sets = None
    has_device = False
    with problems.noted("device"):
        resolve_device(settings.device)
        has_device = True
    for path in settings.detectors:
        with problems.noted():
            make_detector(path)
            # A detector whose code was changed meanwhile would share the tables with what it was before.
            inputs.append(content_hash(source_of(path)))
    with problems.noted():
        if any(network.baselines for network in settings.networks.values()):
            import_torchvision()
    with problems.noted():
        sets = load_sets(settings, settings.seeds[0])
    for name in settings.networks if has_device else ():
        with problems.noted(f"network {name}"):
            inputs += _check_network(settings, name, sets)
    problems.refuse()
    assert sets is not None  # noqa: S101 - else there was a problem
    hashes = [images.hash for images in sets.all().values()]
    return Checked(sets, (*hashes, *inputs))


def _check_network(settings: OODBenchmark, name: str, sets: Sets | None) -> list[str]:
    """Refuse a network that cannot be built or attacked, or does not know the ID images; return hashes of what it is.

    Without sets, one that was trained elsewhere can be loaded, and no more.
    """
    choices = settings.networks[name]
    if sets is None:
        if choices.model is not None:
            choices.load(choices.model, (settings.channels, settings.side, settings.side))
        return []
    target = new_network(settings, settings.seeds[0], name, sets)
    _check_inversions(settings, name, target)
    code = code_hashes(settings.arch_of(name) if choices.model is None else choices.arch)
    if choices.model is None:
        return code
    test = numbered_as(target, sets).splits.test
    refuse_misfit(target, test, f"the ID test images, by network {name},")
    return [*code, target.hash]


def _check_inversions(settings: OODBenchmark, name: str, target: Target) -> None:
    """Build every inverter that works on a network, which refuses what does not fit it."""
    choices = settings.networks[name]
    inversions = []
    if choices.trained:
        inversions += [attack for attack in settings.attacks.values() if isinstance(attack, InversionSettings)]
    if choices.garbage is not None and choices.garbage.inversions:
        inversions.append(choices.inversion or settings.inversion)
    for inversion in inversions:
        Inverter(inversion, target, seeded_rng(0, "check"))
