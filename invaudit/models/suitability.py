"""Does a network fit the images that it is given? Accuracy, and what other preprocessing would fit better.

A network that gets its images normalised wrongly still works, a little worse: nobody notices, and every number that
is built on it is a little wrong. Two things tell: how many images it gets right, and whether the inputs of its first
batch norm layer have the mean and variance that the layer saw in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from torch import Tensor, nn

from invaudit.data import ImageSet
from invaudit.data.joining import with_classes
from invaudit.models.target import Target, frozen_eval
from invaudit.models.training import chance_limit
from invaudit.runtime import console
from invaudit.runtime.errors import DataError, ModelError, ShapeError
from invaudit.stats import Estimate, counted_share

NORMALISATIONS: dict[int, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    1: {
        "images as they are": ((0.0,), (1.0,)),
        "values from -1 to 1": ((0.5,), (0.5,)),
        "MNIST's": ((0.1307,), (0.3081,)),
        "Fashion-MNIST's": ((0.2860,), (0.3530,)),
        "values from 0 to 255": ((0.0,), (1 / 255,)),
    },
    3: {
        "images as they are": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "values from -1 to 1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "EfficientNet-Lite's": ((0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
        "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        "CIFAR-100's": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        "values from 0 to 255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    },
}
"""Channels -> common normalisations: mean and std per channel."""
MOST_IMAGES = 1_000
"""Images that accuracy is measured on, evenly spread over the set."""
FEW_IMAGES = 200
"""Images that other preprocessings are tried on."""
GOOD_ENOUGH = 0.9
"""Accuracy that no other preprocessing is far above: none is tried."""
ALPHA = 0.001
"""Level of the paired test between two preprocessings: a warning is rare where all is well."""
STRANGE = 0.2
"""Divergence at the first batch norm layer that is worth a word. Photos that were rightly normalised give 0.08."""
CHANCE_SPREADS = 3
"""Standard deviations over the accuracy of guessing, up to which a network is taken to guess."""


@dataclass(frozen=True)
class Suitability:
    """How a network does on labelled images.

    Attributes:
        accuracy: Share of the images that it gets right, with its interval.
        at_chance: Whether guessing would do as well.
        advice: What would fit better, where something does.
        misnumbered: Whether that is another order of the classes.
    """

    accuracy: Estimate
    at_chance: bool
    advice: str | None
    misnumbered: bool = False


@dataclass(frozen=True)
class CheckedImages:
    """Images that may go on to long work.

    Attributes:
        images: They, with their classes numbered as the network's where both have names.
        suitability: How the network does on them; None where they have no classes, or there is no network yet.
    """

    images: ImageSet
    suitability: Suitability | None = None


@dataclass(frozen=True)
class _Way:
    """One way to give images to a network."""

    name: str
    target: Target
    reverse_channels: bool = False

    def images(self, images: Tensor) -> Tensor:
        """Return images in [0, 1] as this way takes them."""
        return images.flip(1) if self.reverse_channels else images


def suitability(target: Target, images: ImageSet) -> Suitability:
    """Measure a network on labelled images, and look for what would fit better.

    Args:
        target: The network.
        images: Images of its shape with their classes, ones that it was not trained on for an honest accuracy.
    """
    some = images.spread(MOST_IMAGES)
    predicted = _predicted(_Way("", target), some)
    right = predicted == some.labels
    share = counted_share(int(right.sum()), len(right))
    at_chance = share.value < chance_limit(target.classes, len(right), spreads=CHANCE_SPREADS)
    order = _other_order(predicted, some, target.classes)
    advice = order or _better_preprocessing(target, images, share.value)
    return Suitability(share, at_chance, advice, misnumbered=order is not None)


def refuse_misfit(target: Target, images: ImageSet, name: str, *, unseen: bool = False) -> ImageSet:
    """Do as `check_fit`, and return the images alone."""
    return check_fit(target, images, name, unseen=unseen).images


def check_fit(target: Target, images: ImageSet, name: str, *, unseen: bool = False) -> CheckedImages:
    """Say how a network does on labelled images and what would fit better, before long work begins.

    Args:
        target: The network.
        images: Images of its shape; where they have no classes, nothing can be said of them.
        name: What to call the images.
        unseen: Whether they stand beside images that it was trained on, and was tried on: if it guesses here alone, it
            knows nothing but its training images, unless the classes of these are in another order.

    Raises:
        ShapeError: The images have another shape.
        DataError: Classes that the network does not know.
        ModelError: It does no better than guessing.
    """
    refuse_other_shape(target, images, name)
    if int(images.labels.min()) < 0:
        return CheckedImages(images)
    images = with_classes(images, target.class_names, known_by="the model")
    if images.classes > target.classes:
        raise DataError(f"{name} has {images.classes} classes, the model knows {target.classes}; they must be the same")
    found = suitability(target, images)
    share = found.accuracy
    interval = f"95 % interval {share.low:.1%} to {share.high:.1%}, {share.n} images"
    if found.at_chance and (found.misnumbered or not unseen):
        remedy = found.advice or "wrong --input, --mean, --std, preparation or class order"
        raise ModelError(
            f"the model gets {share.value:.1%} of {name} right, no better than chance ({interval}): {remedy}"
        )
    guessing = ", no better than chance" if found.at_chance else ""
    console.notice(f"the model gets {share.value:.1%} of {name} right{guessing} ({interval})")
    if found.advice:
        console.notice(f"check the model's preprocessing: {found.advice}")
    return CheckedImages(images, found)


def labelled_for(target: Target, images: ImageSet) -> ImageSet:
    """Return labelled images, with their classes numbered as the network's where both have names.

    Raises:
        ShapeError: The images have another shape.
        DataError: Images without a class, or of classes that the network does not know.
    """
    refuse_other_shape(target, images)
    images = with_classes(images, target.class_names, known_by="the model")
    low, high = int(images.labels.min()), int(images.labels.max())
    if low < 0 or high >= target.classes:
        raise DataError(
            f"{images.name} has labels from {low} to {high}, expected 0 to {target.classes - 1}: the model's classes"
        )
    return images


def refuse_other_shape(target: Target, images: ImageSet, name: str = "") -> None:
    """Refuse images that the network does not take.

    Raises:
        ShapeError: They have another shape.
    """
    if images.shape != target.spec.shape:
        raise ShapeError(
            f"{name or images.name} has images of {images.shape}, the model takes {target.spec.shape}; resize them"
        )


def _predicted(way: _Way, images: ImageSet) -> Tensor:
    predicted = []
    with frozen_eval(way.target), torch.no_grad():
        for batch in images.batches(64):
            logits = way.target(way.images(batch).to(way.target.device))[:, : way.target.classes]
            predicted.append(logits.argmax(1).cpu())
    return torch.cat(predicted)


def _other_order(predicted: Tensor, images: ImageSet, classes: int) -> str | None:
    """Return the order of classes that fits far better: found on one half of the images, tried on the other."""
    # Here, since it brings half a second or more with it, and an error should not wait for it.
    from sklearn.metrics import confusion_matrix

    found, tried = slice(0, None, 2), slice(1, None, 2)
    counts = confusion_matrix(images.labels[found], predicted[found], labels=range(classes))
    _, order = linear_sum_assignment(-counts)
    right = torch.from_numpy(order)[images.labels[tried]] == predicted[tried]
    if not _far_more(right, images.labels[tried] == predicted[tried]):
        return None
    there = set(images.labels.tolist())
    moved = [label for label in range(classes) if order[label] != label and label in there]
    names = images.class_names or tuple(map(str, range(classes)))
    pairs = ", ".join(f"{names[label]} is its class {order[label]}" for label in moved[:10])
    share = float(right.double().mean())
    return f"the classes are in another order than the network's: {pairs}; so {share:.1%} of half of them are right"


def _better_preprocessing(target: Target, images: ImageSet, share: float) -> str | None:
    few = images.spread(FEW_IMAGES)
    stated = _Way("", target)
    sample = few.floats(slice(0, None, max(1, len(few) // 40)))
    strangeness = first_norm_divergence(target, sample)
    ways = list(_ways(target))
    if strangeness is not None and strangeness > STRANGE:
        divergences = [first_norm_divergence(way.target, way.images(sample)) or 0.0 for way in ways]
        fitting = min(range(len(ways)), key=divergences.__getitem__)
        if divergences[fitting] < strangeness / 4:
            return (
                f"its first batch norm layer saw other inputs in training (divergence {strangeness:.2f}); "
                f"{ways[fitting].name} fits ({divergences[fitting]:.2f}){_options(ways[fitting])}"
            )
    if share >= GOOD_ENOUGH:
        return None
    right = _predicted(stated, few) == few.labels
    rights = [_predicted(way, few) == few.labels for way in ways]
    best = max(range(len(ways)), key=lambda place: int(rights[place].sum()))
    if not _far_more(rights[best], right):
        return None
    gained = f"{int(rights[best].sum())} of {len(few)} right in place of {int(right.sum())}"
    return f"{ways[best].name} would fit better ({gained}){_options(ways[best])}"


def _ways(target: Target) -> Iterator[_Way]:
    """Yield common ways to give images to a network, but for the stated one."""
    spec = target.spec
    for name, (mean, std) in NORMALISATIONS[spec.channels].items():
        other = replace(spec, mean=mean, std=std)
        if other != spec:
            yield _Way(name, Target(target.module, other, target.classes, layers=target.layers))
    if spec.channels == 3:
        yield _Way("the reverse order of channels (BGR)", target, reverse_channels=True)


def _far_more(right: Tensor, stated: Tensor) -> bool:
    """Return whether one way gets far more images right than another: McNemar's exact test, one-sided."""
    gained, lost = int((right & ~stated).sum()), int((stated & ~right).sum())
    if gained <= lost:
        return False
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) <= ALPHA


def _options(way: _Way) -> str:
    """Return how to say it, where there are options for it."""
    if way.reverse_channels:
        return "; put a layer before the network that reverses them"
    spec = way.target.spec
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (spec.mean, spec.std))
    return f": --mean {mean} --std {std}"


class _SeenEnough(Exception):  # noqa: N818 - not an error: the rest of the pass is not needed
    pass


def first_norm_divergence(target: Target, images: Tensor) -> float | None:
    """Return how far the inputs of the first batch norm layer are from those of training.

    Args:
        target: The network.
        images: (N, C, H, W) in [0, 1].

    Returns:
        Kullback-Leibler divergence in nats from the normal distribution of the layer's running mean and variance to
        that of the images, mean over channels; None for a network without batch norm.
    """
    seen: list[Tensor] = []
    layers = (nn.BatchNorm1d, nn.BatchNorm2d)
    norms = [part for part in target.module.modules() if isinstance(part, layers) and part.track_running_stats]

    def look(norm: nn.Module, inputs: tuple[Any, ...]) -> NoReturn:
        assert isinstance(norm, layers)  # noqa: S101 - for the type checker
        seen.append(_divergence(inputs[0].double(), norm))
        raise _SeenEnough

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with frozen_eval(target), torch.no_grad():
            # Not through the target: it takes whatever ends its pass for a fault of the network.
            target.module(target.normalise(images.to(target.device)))
    except _SeenEnough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return float(seen[0]) if seen else None


def _divergence(inputs: Tensor, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018 - it tracks them
    per_channel = inputs.transpose(0, 1).flatten(1)
    mean, variance = per_channel.mean(1), per_channel.var(1, correction=0) + norm.eps
    of_training = norm.running_var.double() + norm.eps
    distance = (variance + (mean - norm.running_mean.double()).square()) / of_training
    return 0.5 * ((of_training / variance).log() + distance - 1).mean()
