"""Detectors that are fed from stored activations."""

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.models import Activations, seed_torch
from invaudit.ood.baselines.base import (
    Baseline,
    Hyperparameters,
    ScoreFunction,
    batched,
    plain,
)
from invaudit.ood.baselines.fast import OpenMax, gram_sums, shaped_maps, without_rank_one
from invaudit.ood.fit_inputs import FitInputs
from invaudit.runtime.errors import NotApplicableError, SettingError

MAPS = "maps of the last block"
POOLED = "features, as maps of one position"
_BATCH, _CACHED, _SMALL_BATCH = 1_024, 16, 128
_ENTRY = {"logits": "logits", "features": "features", "maps": "feature_maps"}


@dataclass(frozen=True)
class Input:
    """What a detector reads, what follows it in the network, and what it is fitted to."""

    read: Callable[[Activations], Tensor]
    rest: Callable[[Tensor], Tensor]
    source: Activations
    labels: Tensor
    form: str


def feed_default(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed a detector of logits, features or the last maps through the library's own entry points."""
    detector, given = _fitted(row, fitting, knobs)
    predict = getattr(detector, f"predict_{_ENTRY[row.consumes]}")
    return ScoreFunction(batched(lambda found: predict(given.read(found)), _BATCH), given.form)


def knn(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed KNN, with one job: the library asks scikit-learn for as many as there are cores."""
    detector, given = _fitted(row, fitting, knobs)
    detector.knn.set_params(n_jobs=1)
    return ScoreFunction(lambda found: detector.predict_features(given.read(found)), given.form)


def gaussian(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed Mahalanobis or RMD, fitted by the library, scored in float64.

    Scatter matrices of features are close to singular: rounding in float32 would differ with the size of the batch.
    """
    detector, given = _fitted(row, fitting, knobs)
    in_double(detector)
    return ScoreFunction(
        batched(lambda found: detector.predict_features(given.read(found).double()), _BATCH), given.form
    )


def dice(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed DICE, as a linear layer with the library's masked weights: it would multiply out (N, K, D)."""
    detector, given = _fitted(row, fitting, knobs)
    energy, weight, bias = detector.detector, detector.masked_w, detector.bias
    return ScoreFunction(lambda found: energy(functional.linear(given.read(found), weight, bias)), given.form)


def openmax(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed OpenMax, in a form that does not depend on the batch."""
    given = _input(row, fitting)
    model = OpenMax.fit(given.read(given.source), given.labels, **knobs)
    return ScoreFunction(lambda found: model.score(given.read(found)), given.form)


def rankfeat(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed RankFeat, with the top eigenvector of a Gram matrix in place of a whole singular value decomposition.

    Raises:
        NotApplicableError: There are no maps, or nothing remains of them without the first singular triplet.
    """
    given = last_maps(fitting)
    if given.form != MAPS or min(given.source.maps[-1].flatten(2).shape[1:]) < 2:
        raise NotApplicableError("needs maps with several channels and positions before the last layers")
    energy = row.kind(None, given.rest, **knobs).detector
    return ScoreFunction(
        batched(lambda found: energy(given.rest(without_rank_one(given.read(found)))), _SMALL_BATCH), given.form
    )


def shaped(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed ASH or SCALE, which scale by a ratio of sums and so assume activations of at least 0.

    Where the last maps have negative values (leaky ReLU) and the features have none, the features are shaped.
    """
    given = last_maps(fitting)
    if given.form == MAPS and given.source.maps[-1].min() < 0 and fitting.train.features.min() >= 0:
        given = pooled(fitting)
    if "variant" in knobs:
        raise SettingError(f"{row.name} runs as ASH-S, the library's default; got variant {knobs['variant']!r}")
    detector, pruned = row.kind(None, given.rest, **knobs), row.class_name == "ASH"

    def score(found: Activations) -> Tensor:
        maps = shaped_maps(given.read(found), detector.percentile, pruned=pruned)
        return detector.detector(given.rest(maps))

    return ScoreFunction(batched(score, _SMALL_BATCH), given.form)


def gram(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed Gram with the maps of all blocks, seeded, with row sums of Gram matrices that need no Gram matrix."""
    has_maps = bool(fitting.maps.maps)

    def read(found: Activations) -> list[Tensor]:
        return [plain(block) for block in (kept_maps(found) if has_maps else found.moments)]

    source, labels = fitting.maps, fitting.maps_labels
    blocks = read(source)
    detector = row.kind(None, [None] * len(blocks), fitting.target.classes, **knobs).to("cpu")
    detector._gram_vector = gram_sums
    # The library fits through modules alone; its images are numbers of images here, whose maps are at hand.
    detector._create_feature_list = lambda index: (source.logits[index], [block[index] for block in blocks])
    with seed_torch(fitting.rng):
        detector.fit([(index, labels[index]) for index in torch.arange(len(labels)).split(_BATCH)])
    score = batched(lambda found: detector.predict_structured(plain(found.logits), read(found)), _CACHED)
    return ScoreFunction(score, "maps of all blocks" if has_maps else "hidden activations")


def multi_mahalanobis(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> ScoreFunction:
    """Feed MultiMahalanobis with the spatial means of all blocks, few images at once: it makes N x N matrices."""
    has_maps = bool(fitting.maps.maps)

    def read(found: Activations) -> list[Tensor]:
        # Moments hold mean and std side by side where there are maps.
        return [plain(block[:, : block.shape[1] // 2] if has_maps else block) for block in found.moments]

    blocks = read(fitting.train)
    detector = row.kind([None] * len(blocks), **knobs).fit_structured(blocks, fitting.train_labels)
    in_double(detector)
    score = batched(lambda found: detector.predict_structured([z.double() for z in read(found)]), _SMALL_BATCH)
    return ScoreFunction(score, "spatial means of all blocks" if has_maps else "hidden activations")


def last_layer(
    row: Baseline,  # noqa: ARG001
    fitting: FitInputs,
    knobs: Hyperparameters,
    *,
    score: Callable[..., Tensor],
) -> ScoreFunction:
    """Feed a gradient detector, restricted to the last layer, in closed form."""
    bias = fitting.target.head.bias is not None
    return ScoreFunction(
        lambda found: score(plain(found.logits), plain(found.features), bias=bias, **knobs), "logits, features"
    )


def in_double(detector: Any) -> None:
    """Turn the fitted tensors of a detector, and lists of them, into float64, in place."""
    for name, value in vars(detector).items():
        if isinstance(value, Tensor):
            setattr(detector, name, value.double())
        elif isinstance(value, list):
            setattr(detector, name, [part.double() if isinstance(part, Tensor) else part for part in value])


def kept_maps(found: Activations) -> tuple[Tensor, ...]:
    """Return the maps.

    Raises:
        SettingError: They were not kept.
    """
    if not found.maps:
        raise SettingError("got activations without maps, expected those of all blocks; collect with keep_maps=True")
    return found.maps


def last_maps(fitting: FitInputs) -> Input:
    """Return how maps of the last block are read; features in their place where the rest cannot be called apart."""
    target = deepcopy(fitting.target).cpu().eval().requires_grad_(False)
    if target.tail is None or not fitting.maps.maps:
        return pooled(fitting)
    return Input(lambda found: plain(kept_maps(found)[-1]), target.tail, fitting.maps, fitting.maps_labels, MAPS)


def pooled(fitting: FitInputs) -> Input:
    """Return how features are read as maps of one position, the form of the methods for pooled features."""
    head = fitting.head
    return Input(
        lambda found: plain(found.features)[:, :, None, None],
        lambda maps: head(maps.flatten(1)),
        fitting.train,
        fitting.train_labels,
        POOLED,
    )


def _input(row: Baseline, fitting: FitInputs) -> Input:
    if row.consumes == "maps":
        return last_maps(fitting)
    held_out = row.fits_on == "fit"
    source, labels = (fitting.fit, fitting.fit_labels) if held_out else (fitting.train, fitting.train_labels)
    if row.consumes == "logits":
        # In float32 the softmax of a sure network is 1 for most images, and their scores would tie.
        return Input(lambda found: plain(found.logits).double(), fitting.head, source, labels, row.consumes)
    return Input(lambda found: plain(found.features), fitting.head, source, labels, row.consumes)


def _fitted(row: Baseline, fitting: FitInputs, knobs: Hyperparameters) -> tuple[Any, Input]:
    given = _input(row, fitting)
    detector = _make(row.kind, given.rest, fitting, knobs)
    if row.requires_fit:
        getattr(detector, f"fit_{_ENTRY[row.consumes]}")(given.read(given.source), given.labels)
    return detector, given


def _make(kind: Any, rest: Callable[[Tensor], Tensor], fitting: FitInputs, knobs: Hyperparameters) -> Any:
    """Construct a detector without a network, with those of the usual arguments that its class asks for."""
    head = fitting.head
    bias = torch.zeros(head.out_features) if head.bias is None else head.bias
    usual = {"model": None, "encoder": None, "backbone": None, "head": rest, "w": head.weight, "b": bias}
    asked = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in usual.items() if name in asked}, **knobs)
