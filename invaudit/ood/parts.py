"""The parts of ``joint``: each a pair of functions, fit on training activations and scored on any.

``fit(train, labels) -> state`` gives a dict of tensors, ``score(state, activations) -> (N,)`` rises with outlierness.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from invaudit.models import Activations
from invaudit.ood.scores import garbage_odds

State = dict[str, Tensor]
NEIGHBOUR = 5
BANK = 20_000
_CHUNK = 512


@dataclass(frozen=True)
class Part:
    """One part of the joined score."""

    fit: Callable[[Activations, Tensor], State]
    score: Callable[[State, Activations], Tensor]
    needs_garbage: bool = False


def kth_distances(queries: Tensor, bank: Tensor, k: int) -> Tensor:
    """Return the distances of queries (N, D) to their ``k`` nearest of bank (M, D), ascending, (N, k)."""
    found = [torch.cdist(part, bank).topk(k, largest=False).values for part in queries.split(_CHUNK)]
    return torch.cat(found)


def nearest_state(vectors: Tensor) -> State:
    """Keep up to 20,000 L2-normalised training vectors, evenly spaced over the set."""
    return {"bank": _normalised(_thinned(vectors))}


def nearest_score(state: State, vectors: Tensor) -> Tensor:
    """Return the distance to the nearest training vector on the sphere, (N,).

    Source: KNN, arXiv 2204.06507, with k = 1.
    """
    return kth_distances(_normalised(vectors), state["bank"], 1)[:, 0]


def whitened_state(vectors: Tensor, labels: Tensor) -> State:
    """Whiten by the within-class covariance and keep up to 20,000 whitened training vectors."""
    vectors = vectors.double()
    mean, scale = vectors.mean(0), _scale(vectors)
    standard = (vectors - mean) / scale
    centred = standard.clone()
    for label in labels.unique():
        centred[labels == label] -= standard[labels == label].mean(0)
    values, rotation = torch.linalg.eigh(centred.T @ centred / len(centred))
    whitening = rotation / (values.clamp_min(0) + 0.3 * values.mean()).sqrt()
    return {"mean": mean, "scale": scale, "whitening": whitening, "bank": _thinned(standard @ whitening)}


def whitened_score(state: State, vectors: Tensor) -> Tensor:
    """Return the distance to the nearest whitened training vector, (N,)."""
    return kth_distances(_whitened(state, vectors), state["bank"], 1)[:, 0]


def density_state(vectors: Tensor, labels: Tensor) -> State:
    """Keep the whitened bank and the distance of each of its vectors to its own fifth neighbour."""
    state = whitened_state(vectors, labels)
    k = min(NEIGHBOUR + 1, len(state["bank"]))
    return {**state, "own": kth_distances(state["bank"], state["bank"], k)[:, -1]}


def density_score(state: State, vectors: Tensor) -> Tensor:
    """Return the fifth-neighbour distance over the mean of that distance at the five neighbours, (N,).

    Source: a local outlier factor (Breunig et al. 2000) with distances in place of reachability.
    """
    scores = []
    for part in _whitened(state, vectors).split(_CHUNK):
        near = torch.cdist(part, state["bank"]).topk(min(NEIGHBOUR, len(state["bank"])), largest=False)
        scores.append(near.values[:, -1] / state["own"][near.indices].mean(1).clamp_min(1e-12))
    return torch.cat(scores)


def residual_state(vectors: Tensor) -> State:
    """Find where standardised training vectors (N, D) hardly vary: the directions of the last 2 % of variance."""
    vectors = vectors.double()
    mean, scale = vectors.mean(0), _scale(vectors)
    standard = (vectors - mean) / scale
    values, rotation = torch.linalg.eigh(standard.T @ standard / len(standard))
    few = max(1, int((values.clamp_min(0).cumsum(0) <= 0.02 * values.sum()).sum()))
    return {"mean": mean, "scale": scale, "directions": rotation[:, :few]}


def residual_score(state: State, vectors: Tensor) -> Tensor:
    """Return the length in those directions, (N,).

    Source: the residual of ViM, arXiv 2203.10807, equation 4, of standardised features about their mean.
    """
    return (((vectors.double() - state["mean"]) / state["scale"]) @ state["directions"]).norm(dim=1)


def _scale(vectors: Tensor) -> Tensor:
    scale = vectors.std(0, correction=0)
    # A channel that never moves on ID images carries no information there and would divide by zero.
    return torch.where(scale > 1e-6 * scale.max(), scale, scale.max().clamp_min(1e-12))


def _whitened(state: State, vectors: Tensor) -> Tensor:
    return ((vectors.double() - state["mean"]) / state["scale"]) @ state["whitening"]


def _normalised(vectors: Tensor) -> Tensor:
    vectors = vectors.double()
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _thinned(vectors: Tensor) -> Tensor:
    if len(vectors) <= BANK:
        return vectors
    return vectors[torch.linspace(0, len(vectors) - 1, BANK).round().long()]


def _nearest(read: Callable[[Activations], Tensor]) -> Part:
    return Part(
        lambda train, _labels: nearest_state(read(train)),
        lambda state, found: nearest_score(state, read(found)),
    )


PARTS: dict[str, Part] = {
    "garbage": Part(
        lambda train, _labels: {"classes": torch.tensor(train.logits.shape[1] - 1)},
        lambda state, found: garbage_odds(found.logits, int(state["classes"])),
        needs_garbage=True,
    ),
    "nearest-first": _nearest(lambda found: found.moments[0]),
    "nearest-first-whitened": Part(
        lambda train, labels: whitened_state(train.moments[0], labels),
        lambda state, found: whitened_score(state, found.moments[0]),
    ),
    "nearest-last": _nearest(lambda found: found.moments[-1]),
    "density-last": Part(
        lambda train, labels: density_state(train.moments[-1], labels),
        lambda state, found: density_score(state, found.moments[-1]),
    ),
    "nearest-head": _nearest(lambda found: found.features),
    "residual-head": Part(
        lambda train, _labels: residual_state(train.features),
        lambda state, found: residual_score(state, found.features),
    ),
}
