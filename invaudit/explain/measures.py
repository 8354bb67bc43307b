"""Measures of inversions: do they show their class, are they like real images, and do they differ?

Every measure is a row with its interval, or with the reason why there is none. Beside what can be said of real held-out
images, too, stands the same figure for them: no inversion can be asked for more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.data.image_set import evenly_spread
from invaudit.explain.likeness import Matrix, cosines, mean_within, metric_values, positions_by_class
from invaudit.explain.overlap import Overlap, overlap
from invaudit.models import Target, collect
from invaudit.models.suitability import refuse_other_shape
from invaudit.runtime.errors import DataError, InputError, ShapeError
from invaudit.similarity import Metric, make_metric
from invaudit.similarity.perceptual import NETS
from invaudit.stats import Estimate, counted_share

MOST_REAL = 2_000
"""Real images that are looked at, evenly spread: an accuracy is then known to 2 points."""
COSINES_OF_CLASS = 100
"""Images of a class whose cosines are compared, all with all."""
PAIRED_OF_CLASS = 20
"""Images of a class that are compared by SSIM and LPIPS, all with all: 190 pairs."""
PAIRED_CLASSES = 20
"""Classes whose images are compared, evenly spread, so that a thousand classes cost no more."""

NO_REAL = "no labelled real images were given (--data)"
NO_SECOND = "no second network was given, and there is no labelled data to train one on (--second-model)"

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "inversion_accuracy": "share of the inversions that the network itself gives the wanted class: they were made "
        "for that, so it says nothing of what they look like",
        "second_accuracy": "share of the inversions that a second network gives the wanted class: an upper bound on "
        "how many show it, since what fools one network often fools another",
        "second_accuracy_real": "share of real held-out images that the second network gives their class",
        "precision": "share of the inversions that lie where real images lie, as the second network sees them",
        "recall": "share of the real images that lie where inversions lie, as the second network sees them",
        "density": "how thickly real images lie around the inversions; 1 as around real ones",
        "coverage": "share of the real images that have an inversion near to them",
        "precision_real": "the precision of as many other real images",
        "recall_real": "the recall of as many other real images",
        "density_real": "the density of as many other real images",
        "coverage_real": "the coverage of as many other real images",
        "feature_cosine": "mean cosine of the network's own features over pairs of inversions of a class; 1: the same",
        "feature_cosine_real": "the same over pairs of real images",
        "pixel_cosine": "mean cosine of pixels over pairs of inversions of a class; 1: the same but for brightness",
        "pixel_cosine_real": "the same over pairs of real images",
        "ssim": "mean SSIM over pairs of inversions of a class; 1: the same image",
        "ssim_real": "the same over pairs of real images",
        "lpips": "mean LPIPS distance over pairs of inversions of a class; 0: the same image",
        "lpips_real": "the same over pairs of real images",
    }
)
"""Name of a measure -> what it says, in one sentence."""


@dataclass(frozen=True)
class Measure:
    """One figure, or the reason why there is none.

    Attributes:
        name: A key of ``MEANINGS``.
        estimate: The figure with its interval.
        label: The class that it speaks of; None: all of them.
        reason: Why there is no figure.
    """

    name: str
    estimate: Estimate | None
    label: int | None = None
    reason: str = ""


def measure_inversions(
    images: Tensor,
    labels: Tensor,
    target: Target,
    rng: np.random.Generator,
    *,
    second: Target | None = None,
    real: ImageSet | None = None,
) -> list[Measure]:
    """Measure inversions of a target.

    Args:
        images: (N, C, H, W) float32 in [0, 1], of some or all classes.
        labels: (N,) int64, the class that each was made for.
        target: The network that they were made for.
        rng: Source of the resamples behind the intervals.
        second: Another network of the same classes; what it is needed for has a reason in place of a figure otherwise.
        real: Labelled images that neither network was trained on; likewise. Those of the same classes are used.

    Returns:
        Every measure of ``MEANINGS`` once, accuracies also for each class.

    Raises:
        ShapeError: Images or real images of another shape than the network takes.
    """
    seen = collect(target, images, keep_maps=False)
    real = None if real is None else _comparable(real, labels, target)
    measures = accuracies("inversion_accuracy", seen.logits.argmax(1), labels)
    measures += second_measures(images, labels, rng, second=second, real=real)
    measures += likenesses(images, labels, seen.features, rng)
    if real is None:
        return measures + _missing(("feature_cosine_real", "pixel_cosine_real", "ssim_real", "lpips_real"), NO_REAL)
    features = collect(target, real, keep_maps=False).features
    return measures + likenesses(real.floats(), real.labels, features, rng, suffix="_real")


def accuracies(name: str, predicted: Tensor, labels: Tensor) -> list[Measure]:
    """Return the share of images with the right class: of all, and of each class that occurs.

    Args:
        name: Name of the measure.
        predicted: (N,) the class that a network gives each image; a garbage class counts as an error.
        labels: (N,) its class.
    """
    is_right = predicted == labels
    measures = [Measure(name, counted_share(int(is_right.sum()), len(labels)))]
    for label in labels.unique().tolist():
        of_class = is_right[labels == label]
        measures.append(Measure(name, counted_share(int(of_class.sum()), len(of_class)), label))
    return measures


def second_measures(
    images: Tensor, labels: Tensor, rng: np.random.Generator, *, second: Target | None, real: ImageSet | None
) -> list[Measure]:
    """Return what a second network says of inversions, and beside it of real images; see ``measure_inversions``."""
    overlaps = tuple(field.name for field in fields(Overlap))
    of_real = tuple(f"{name}_real" for name in overlaps)
    if second is None:
        return _missing(("second_accuracy", "second_accuracy_real", *overlaps, *of_real), NO_SECOND)
    seen = collect(second, images, keep_maps=False)
    measures = accuracies("second_accuracy", seen.logits.argmax(1), labels)
    if real is None:
        return measures + _missing(("second_accuracy_real", *overlaps, *of_real), NO_REAL)
    seen_real = collect(second, real, keep_maps=False)
    measures += accuracies("second_accuracy_real", seen_real.logits.argmax(1), real.labels)
    # Every other image of each class is reference, the rest shows what real images reach, in equal numbers.
    by_class = real.labels.argsort(stable=True)
    count = min(len(images), len(real) // 2)
    reference, others = (_some(seen_real.features[by_class[start::2]], count) for start in (0, 1))
    for suffix, features in (("", _some(seen.features, count)), ("_real", others)):
        measures += _overlaps(features, reference, rng, suffix)
    return measures


def likenesses(
    images: Tensor, labels: Tensor, features: Tensor, rng: np.random.Generator, *, suffix: str = ""
) -> list[Measure]:
    """Return how alike the images of a class are: in features, in pixels, by SSIM and by LPIPS.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) their classes.
        features: (N, D) of the same images.
        rng: Source of the resamples.
        suffix: What the names of the measures end with.
    """
    present = labels.unique()
    classes = present[evenly_spread(len(present), PAIRED_CLASSES)].tolist()

    def within(values: Callable[[Tensor], Matrix], most: int) -> Estimate:
        return mean_within([values(group) for group in positions_by_class(labels, classes, most)], rng)

    def by_metric(make: Callable[[], Metric]) -> Estimate:
        metric = make()
        found = within(lambda group: metric_values(images[group], metric), PAIRED_OF_CLASS)
        return replace(found, method=f"{metric.label}; {found.method}")

    return [
        _measured(f"feature_cosine{suffix}", lambda: within(lambda g: cosines(features[g]), COSINES_OF_CLASS)),
        _measured(f"pixel_cosine{suffix}", lambda: within(lambda g: cosines(images[g]), COSINES_OF_CLASS)),
        _measured(f"ssim{suffix}", lambda: by_metric(lambda: make_metric("ssim"))),
        _measured(f"lpips{suffix}", lambda: by_metric(lambda: make_metric(_lpips_name(images.shape)))),
    ]


def _comparable(real: ImageSet, labels: Tensor, target: Target) -> ImageSet:
    """Return the real images of the classes that there are inversions of, at most ``MOST_REAL``."""
    refuse_other_shape(target, real)
    is_comparable = torch.isin(real.labels, labels)
    if int(is_comparable.sum()) < 2:
        raise DataError(f"{real.name} has no images of the classes of the inversions; give real images with classes")
    return real.subset(is_comparable).in_memory(MOST_REAL).spread(MOST_REAL)


def _lpips_name(shape: Sequence[int]) -> str:
    """Return the usual network where images are large enough for it, else the one that takes smaller ones."""
    side = min(shape[-2:])
    fitting = [net for net in ("alex", "squeeze") if side >= NETS[net][1]]
    if not fitting:
        raise ShapeError(f"images have a side of {side}, LPIPS takes sides from {NETS['squeeze'][1]} up")
    return f"lpips-{fitting[0]}"


def _overlaps(features: Tensor, reference: Tensor, rng: np.random.Generator, suffix: str) -> list[Measure]:
    names = [field.name for field in fields(Overlap)]
    try:
        found = overlap(features, reference, rng)
    except InputError as error:
        return _missing([f"{name}{suffix}" for name in names], str(error))
    return [Measure(f"{name}{suffix}", getattr(found, name)) for name in names]


def _measured(name: str, compute: Callable[[], Estimate]) -> Measure:
    """Return a measure, or why this input has none: too few images, images too small, weights that are not there."""
    try:
        return Measure(name, compute())
    except InputError as error:
        return Measure(name, None, reason=str(error))


def _missing(names: Sequence[str], reason: str) -> list[Measure]:
    return [Measure(name, None, reason=reason) for name in names]


def _some(rows: Tensor, most: int) -> Tensor:
    return rows[evenly_spread(len(rows), most)]
