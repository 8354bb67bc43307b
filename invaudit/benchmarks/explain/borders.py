"""Borders between classes, as a job of a benchmark measures them: by the engine that made its inversions."""

from collections.abc import Iterator

import torch

from invaudit.data import ImageSet
from invaudit.explain.atlas import confusion_of, pairs_to_try
from invaudit.explain.border_paths import generator_borders
from invaudit.explain.border_pixels import pixel_borders
from invaudit.explain.border_stage import attacked
from invaudit.explain.borders import Borders, Pair
from invaudit.inversion import Inversion
from invaudit.models import Target, collect
from invaudit.records.explain_table import MeasureRecord
from invaudit.runtime.errors import DataError
from invaudit.stats import counted_share

BORDER_MEASURES = (
    "border_reached",
    "border_gap",
    "border_distance",
    "border_attack_distance",
    "border_undecided",
)
NO_SECOND = "there is no second network to ask"


def border_records(
    target: Target,
    inversion: Inversion | None,
    real: ImageSet,
    rng: torch.Generator,
    *,
    second: Target | None,
) -> list[MeasureRecord]:
    """Search for border images and measure them: all pairs up to ten classes, the most confused ones beyond.

    Args:
        target: The network.
        inversion: Draws the border images; None: they are searched for by pixels, from a real image of the first class.
        real: Labelled real images.
        rng: Source of the starts.
        second: Another network of the same classes, to be asked about the images.

    Raises:
        DataError: The network gets no image of some class right, so that there is nothing to start from.
    """
    confusion = confusion_of(target, real.floats(), real.labels)
    pairs = pairs_to_try(target.classes, confusion=confusion)
    if inversion is not None:
        found = generator_borders(target, inversion, pairs, rng, attack=attacked, second=second)
    else:
        found = _from_real_images(target, pairs, real, rng, second=second)
    return list(_records(found))


def _from_real_images(
    target: Target, pairs: tuple[Pair, ...], real: ImageSet, rng: torch.Generator, *, second: Target | None
) -> Borders:
    """Return border images by pixels, from one real image of each class that the network gets right, at random."""
    is_right = collect(target, real, keep_maps=False).logits.argmax(1) == real.labels
    chosen = []
    for label in range(target.classes):
        positions = (is_right & (real.labels == label)).nonzero()[:, 0]
        if not len(positions):
            raise DataError(f"the network gets no image of class {label} of {real.name} right: no start for a border")
        chosen.append(positions[torch.randint(len(positions), (), generator=rng)])
    starts = real.floats(torch.stack(chosen))
    first, other = torch.tensor(pairs).T
    return pixel_borders(target, pairs, starts[first], goals=starts[other], attack=attacked, second=second)


def _records(found: Borders) -> Iterator[MeasureRecord]:
    yield _share("border_reached", len(found.reached), len(found))
    gaps = [row.gap for row in found.reached]
    for name, value in (
        ("border_gap", max(gaps, default=None)),
        ("border_distance", found.median_distance),
        ("border_attack_distance", found.median_attack_distance),
    ):
        if value is None:
            yield MeasureRecord(measure=name, status="not-applicable", reason="no pair has a border image")
        else:
            yield MeasureRecord(measure=name, value=value, n=len(gaps))
    told = [row.second_is_undecided for row in found.reached if row.second_is_undecided is not None]
    if told:
        yield _share("border_undecided", sum(told), len(told))
    else:
        yield MeasureRecord(measure="border_undecided", status="not-applicable", reason=NO_SECOND)


def _share(name: str, positive: int, n: int) -> MeasureRecord:
    share = counted_share(positive, n)
    return MeasureRecord(measure=name, value=share.value, low=share.low, high=share.high, n=share.n)
