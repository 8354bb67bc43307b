"""Detectors that are fed from stored activations."""

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.models import Activations
from invaudit.models.devices import seed_torch
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
class Feed:
    """What a detector reads, what follows it in the network, and what it is fitted to."""

    read: Callable[[Activations], Tensor]
    tail: Callable[[Tensor], Tensor]
    source: Activations
    labels: Tensor
    form: str


def feed_default(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed a detector of logits, features or the last maps through the library's own entry points."""
    detector, feed = _fitted(row, inputs, hyperparameters)
    predict = getattr(detector, f"predict_{_ENTRY[row.consumes]}")
    return ScoreFunction(batched(lambda activations: predict(feed.read(activations)), _BATCH), feed.form)


def knn(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed KNN, with one job: the library asks scikit-learn for as many as there are cores."""
    detector, feed = _fitted(row, inputs, hyperparameters)
    detector.knn.set_params(n_jobs=1)
    return ScoreFunction(lambda activations: detector.predict_features(feed.read(activations)), feed.form)


def gaussian(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed Mahalanobis or RMD, fitted by the library, scored in float64.

    Scatter matrices of features are close to singular: rounding in float32 would differ with the size of the batch.
    """
    detector, feed = _fitted(row, inputs, hyperparameters)
    in_double(detector)
    return ScoreFunction(
        batched(lambda activations: detector.predict_features(feed.read(activations).double()), _BATCH), feed.form
    )


def dice(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed DICE, as a linear layer with the library's masked weights: it would multiply out (N, K, D)."""
    detector, feed = _fitted(row, inputs, hyperparameters)
    energy, weight, bias = detector.detector, detector.masked_w, detector.bias
    return ScoreFunction(lambda activations: energy(functional.linear(feed.read(activations), weight, bias)), feed.form)


def openmax(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed OpenMax, in a form that does not depend on the batch."""
    feed = _feed(row, inputs)
    model = OpenMax.fit(feed.read(feed.source), feed.labels, **hyperparameters)
    return ScoreFunction(lambda activations: model.score(feed.read(activations)), feed.form)


def rankfeat(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed RankFeat, with the top eigenvector of a Gram matrix in place of a whole singular value decomposition.

    Raises:
        NotApplicableError: There are no maps, or nothing remains of them without the first singular triplet.
    """
    feed = last_maps(inputs)
    if feed.form != MAPS or min(feed.source.maps[-1].flatten(2).shape[1:]) < 2:
        raise NotApplicableError("needs maps with several channels and positions before the last layers")
    energy = row.kind(None, feed.tail, **hyperparameters).detector

    def score(activations: Activations) -> Tensor:
        return energy(feed.tail(without_rank_one(feed.read(activations))))

    return ScoreFunction(batched(score, _SMALL_BATCH), feed.form)


def shaped(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed ASH or SCALE, which scale by a ratio of sums and so assume activations of at least 0.

    Where the last maps have negative values (leaky ReLU) and the features have none, the features are shaped.
    """
    feed = last_maps(inputs)
    if feed.form == MAPS and feed.source.maps[-1].min() < 0 and inputs.train.features.min() >= 0:
        feed = pooled(inputs)
    if "variant" in hyperparameters:
        raise SettingError(
            f"{row.name} runs as ASH-S, the library's default; got variant {hyperparameters['variant']!r}"
        )
    detector, pruned = row.kind(None, feed.tail, **hyperparameters), row.class_name == "ASH"

    def score(activations: Activations) -> Tensor:
        maps = shaped_maps(feed.read(activations), detector.percentile, pruned=pruned)
        return detector.detector(feed.tail(maps))

    return ScoreFunction(batched(score, _SMALL_BATCH), feed.form)


def gram(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed Gram with the maps of all blocks, seeded, with row sums of Gram matrices that need no Gram matrix."""
    has_maps = bool(inputs.maps.maps)

    def read(activations: Activations) -> list[Tensor]:
        blocks = kept_maps(activations) if has_maps else activations.moments
        return [plain(block) for block in blocks]

    source, labels = inputs.maps, inputs.maps_labels
    blocks = read(source)
    detector = row.kind(None, [None] * len(blocks), inputs.target.classes, **hyperparameters).to("cpu")
    detector._gram_vector = gram_sums
    # The library fits through modules alone; its images are numbers of images here, whose maps are at hand.
    detector._create_feature_list = lambda index: (source.logits[index], [block[index] for block in blocks])
    batches = []
    for index in torch.arange(len(labels)).split(_BATCH):
        batches.append((index, labels[index]))
    with seed_torch(inputs.rng):
        detector.fit(batches)
    score = batched(
        lambda activations: detector.predict_structured(plain(activations.logits), read(activations)), _CACHED
    )
    return ScoreFunction(score, "maps of all blocks" if has_maps else "hidden activations")


def multi_mahalanobis(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed MultiMahalanobis with the spatial means of all blocks, few images at once: it makes N x N matrices."""
    has_maps = bool(inputs.maps.maps)

    def read(activations: Activations) -> list[Tensor]:
        blocks = []
        for block in activations.moments:
            # Moments hold mean and std side by side where there are maps.
            width = block.shape[1] // 2 if has_maps else block.shape[1]
            blocks.append(plain(block[:, :width]))
        return blocks

    def score(activations: Activations) -> Tensor:
        return detector.predict_structured([block.double() for block in read(activations)])

    blocks = read(inputs.train)
    detector = row.kind([None] * len(blocks), **hyperparameters).fit_structured(blocks, inputs.train_labels)
    in_double(detector)
    form = "spatial means of all blocks" if has_maps else "hidden activations"
    return ScoreFunction(batched(score, _SMALL_BATCH), form)


def last_layer(
    row: Baseline,  # noqa: ARG001
    inputs: FitInputs,
    hyperparameters: Hyperparameters,
    *,
    score: Callable[..., Tensor],
) -> ScoreFunction:
    """Feed a gradient detector, restricted to the last layer, in closed form."""
    bias = inputs.target.head.bias is not None

    def of_last_layer(activations: Activations) -> Tensor:
        return score(plain(activations.logits), plain(activations.features), bias=bias, **hyperparameters)

    return ScoreFunction(of_last_layer, "logits, features")


def in_double(detector: Any) -> None:
    """Turn the fitted tensors of a detector, and lists of them, into float64, in place."""
    for name, value in vars(detector).items():
        if isinstance(value, Tensor):
            setattr(detector, name, value.double())
        elif isinstance(value, list):
            parts = []
            for part in value:
                parts.append(part.double() if isinstance(part, Tensor) else part)
            setattr(detector, name, parts)


def kept_maps(activations: Activations) -> tuple[Tensor, ...]:
    """Return the maps.

    Raises:
        SettingError: They were not kept.
    """
    if not activations.maps:
        raise SettingError("got activations without maps, expected those of all blocks; collect with keep_maps=True")
    return activations.maps


def last_maps(inputs: FitInputs) -> Feed:
    """Return how maps of the last block are read; features in their place where the rest cannot be called apart."""
    target = deepcopy(inputs.target).cpu().eval().requires_grad_(False)
    if target.tail is None or not inputs.maps.maps:
        return pooled(inputs)
    return Feed(
        lambda activations: plain(kept_maps(activations)[-1]), target.tail, inputs.maps, inputs.maps_labels, MAPS
    )


def pooled(inputs: FitInputs) -> Feed:
    """Return how features are read as maps of one position, the form of the methods for pooled features."""
    head = inputs.head
    return Feed(
        lambda activations: plain(activations.features)[:, :, None, None],
        lambda maps: head(maps.flatten(1)),
        inputs.train,
        inputs.train_labels,
        POOLED,
    )


def _feed(row: Baseline, inputs: FitInputs) -> Feed:
    if row.consumes == "maps":
        return last_maps(inputs)
    held_out = row.fits_on == "fit"
    source, labels = (inputs.fit, inputs.fit_labels) if held_out else (inputs.train, inputs.train_labels)
    if row.consumes == "logits":
        # In float32 the softmax of a sure network is 1 for most images, and their scores would tie.
        return Feed(lambda activations: plain(activations.logits).double(), inputs.head, source, labels, row.consumes)
    return Feed(lambda activations: plain(activations.features), inputs.head, source, labels, row.consumes)


def _fitted(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> tuple[Any, Feed]:
    feed = _feed(row, inputs)
    detector = _make(row.kind, feed.tail, inputs, hyperparameters)
    if row.requires_fit:
        getattr(detector, f"fit_{_ENTRY[row.consumes]}")(feed.read(feed.source), feed.labels)
    return detector, feed


def _make(kind: Any, tail: Callable[[Tensor], Tensor], inputs: FitInputs, hyperparameters: Hyperparameters) -> Any:
    """Construct a detector without a network, with those of the usual arguments that its class asks for."""
    head = inputs.head
    bias = torch.zeros(head.out_features) if head.bias is None else head.bias
    usual = {"model": None, "encoder": None, "backbone": None, "head": tail, "w": head.weight, "b": bias}
    arguments = {}
    for name in inspect.signature(kind).parameters:
        if name in usual:
            arguments[name] = usual[name]
    return kind(**arguments, **hyperparameters)
