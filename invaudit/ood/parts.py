"""The parts of ``joint``: each reads vectors (N, D) of activations, learns from training ones and scores any.

``fit(vectors, labels) -> state`` gives a dict of tensors, ``score(state, vectors) -> (N,)`` rises with outlierness.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from invaudit.models import Activations
from invaudit.ood.scores import garbage_odds
from invaudit.runtime.errors import ModelError
from invaudit.runtime.text import shown

State = dict[str, Tensor]
Branch = Literal["class", "picture"]
NEIGHBOUR = 5
"""Which neighbour tells how dense the training images lie."""
GEN_POWER = 0.1
GEN_CLASSES = 100
"""Exponent of the generalised entropy, and of how many classes it is at most: the values of its paper."""
BANK = 20_000
"""Training vectors that a part keeps at most: time and memory of a score grow with them."""
_CHUNK = 512


NEAREST = {"bank": "MD"}
STANDARD = {"mean": "D", "scale": "D", "map": "DE"}
WHITENED = STANDARD | {"bank": "ME"}
RELATIVE = STANDARD | {"centres": "KE", "background": "DF"}
SCALING = {"reference": "R", "weight": ""}
"""What scaling and weighing a part adds to its state."""
POSITIVE = ("scale", "own", "weight")


@dataclass(frozen=True)
class Part:
    """One part of the joined score.

    Attributes:
        read: From activations to vectors (N, D).
        fit: From vectors and labels to a state.
        score: From a state and vectors to scores (N,).
        shapes: Name -> shape of each tensor of the state, a letter for each side: equal letters are equal sides, D is
            that of the vectors.
        branch: ``class``: it asks for another class, by what the head reads or gives; ``picture``: for another kind of
            picture, by how the blocks answer, or by features off the directions in which those of ID images vary.
        needs_garbage: The last value of the vectors is the logit of a garbage class.
    """

    read: Callable[[Activations], Tensor]
    fit: Callable[[Tensor, Tensor], State]
    score: Callable[[State, Tensor], Tensor]
    shapes: Mapping[str, str]
    branch: Branch
    needs_garbage: bool = False


def checked_state(name: str, state: State, like: Activations) -> State:
    """Return a part's state that comes from a file, if it is one that the part could have.

    Args:
        name: Key of ``KNOWN_PARTS``.
        state: The state, with scale and weight.
        like: Activations of any images, in the shapes that the network gives.

    Raises:
        ModelError: A tensor is missing or unknown, of another type or shape, not finite, or out of its range.
    """
    for problem in _problems(KNOWN_PARTS[name], state, like):
        raise ModelError(f"{name}{problem}; fit it again")
    return state


def _problems(part: Part, state: State, like: Activations) -> Iterator[str]:
    shapes = {**part.shapes, **SCALING}
    if state.keys() != shapes.keys():
        yield f" has {listed(state)}, expected {listed(shapes)}"
    sides = {"D": part.read(like).shape[1]}
    for field, letters in shapes.items():
        value = state[field]
        expected = tuple(sides.get(letter, letter) for letter in letters)
        agree = value.ndim == len(letters)
        for letter, side in zip(letters, value.shape, strict=True) if agree else ():
            agree = agree and side > 0 and sides.setdefault(letter, side) == side
        kind = torch.int64 if field == "classes" else torch.float64
        if not agree:
            yield f".{field} has shape {tuple(value.shape)}, expected {expected}"
        elif value.dtype != kind:
            yield f".{field} has type {value.dtype}, expected {kind}"
        elif not value.isfinite().all() or (field in POSITIVE and not (value > 0).all()):
            yield f".{field} has values from {value.min()} to {value.max()}, expected finite ones"
    if not state["reference"].diff().ge(0).all():
        yield ".reference is not in ascending order"
    if "classes" in state and not 1 <= int(state["classes"]) <= sides["D"] - part.needs_garbage:
        yield f".classes is {int(state['classes'])}, the network gives {sides['D']} logits"


def listed(names: Iterable[str]) -> str:
    """Return the first of some names in one text."""
    return ", ".join(sorted(map(shown, names))[:10]) or "nothing"


def garbage_state(logits: Tensor, _labels: Tensor) -> State:
    """Keep which of the logits (N, K + 1) is that of the garbage class: the last."""
    return {"classes": torch.tensor(logits.shape[1] - 1)}


def garbage_score(state: State, logits: Tensor) -> Tensor:
    """Return the log-odds of the garbage class of logits (N, K + 1), (N,)."""
    return garbage_odds(logits, int(state["classes"]))


def energy_score(state: State, logits: Tensor) -> Tensor:
    """Return minus the log-sum-exp of the class logits, of logits (N, K) or with a garbage class (N, K + 1), (N,).

    References:
        Energy-based OOD detection, arXiv 2010.03759, equation 4, at temperature 1.
    """
    return -logits[:, : int(state["classes"])].double().logsumexp(1)


def classes_state(_vectors: Tensor, labels: Tensor) -> State:
    """Keep how many of the logits are those of classes (N,)."""
    return {"classes": labels.max() + 1}


def gen_score(state: State, logits: Tensor) -> Tensor:
    """Return the generalised entropy of the class probabilities, of logits (N, K) or (N, K + 1), (N,).

    References:
        GEN (Liu et al. 2023, CVPR), equation 3.
    """
    classes = int(state["classes"])
    p = logits[:, :classes].double().softmax(1).topk(min(classes, GEN_CLASSES)).values
    return (p * (1 - p).clamp_min(0)).pow(GEN_POWER).sum(1)


def gradient_score(state: State, norms_and_logits: Tensor) -> Tensor:
    """Return minus the length of a gradient, of the lengths of features before the logits (N, 1 + K), (N,).

    It is the gradient, in the weights of the head, of how far the probabilities of the classes are from equal ones
    (cross-entropy with equal targets). Its sum of absolute values is that of the features times that of the
    probabilities less 1 / K, so that no backward pass is needed.

    References:
        GradNorm, arXiv 2110.00218, equation 9.
    """
    classes = int(state["classes"])
    probabilities = norms_and_logits[:, 1 : 1 + classes].double().softmax(1)
    return -(probabilities - 1 / classes).abs().sum(1) * norms_and_logits[:, 0].double()


def kth_distance(queries: Tensor, bank: Tensor, k: int) -> Tensor:
    """Return the distance of each of the queries (N, D) to its ``k``-th nearest of bank (M, D), (N,) float64."""
    return torch.cat([distances[:, -1] for distances, _ in _nearest(queries, bank, k)])


def _nearest(queries: Tensor, bank: Tensor, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the ``k`` least distances (B, k) of queries to a bank and where they are, nearest first, in chunks."""
    # In float64 throughout: on the unit sphere, images may lie closer together than float32 can order.
    bank = bank.double()
    half_squares = bank.square().sum(1) / 2
    queries = queries.double()
    # A graph that is exported takes any number of images at a time, and has no loop over them.
    for part in [queries] if torch.compiler.is_compiling() else queries.split(_CHUNK):
        # Half the squared distance, less a term of the query alone: the same order, for one product of matrices.
        index = torch.addmm(half_squares, part, bank.T, alpha=-1).topk(k, largest=False).indices
        yield (bank[index] - part[:, None]).norm(dim=2), index


def nearest_state(vectors: Tensor, _labels: Tensor) -> State:
    """Keep a ``bank`` of L2-normalised training vectors (N, D), evenly spaced over the set."""
    return {"bank": _as_saved(_normalised(_thinned(vectors)))}


def nearest_score(state: State, vectors: Tensor) -> Tensor:
    """Return the distance of vectors (N, D) to the nearest of the bank on the unit sphere, (N,).

    References:
        KNN, arXiv 2204.06507, with k = 1.
    """
    return kth_distance(_normalised(vectors), state["bank"], 1)


def whitened_state(vectors: Tensor, labels: Tensor) -> State:
    """Learn to whiten standardised training vectors (N, D) of classes (N,), and keep a ``bank`` of them.

    The covariance is that about the class means, with 0.3 of the mean eigenvalue added to each, so that directions in
    which a class hardly varies do not decide alone.
    """
    standard, state = _standardised(vectors)
    centres = _class_means(standard, labels)
    whitening = _whitening(standard - centres[labels], ridge=0.3)
    return state | {"map": whitening, "bank": _as_saved(_thinned(standard @ whitening))}


def whitened_score(state: State, vectors: Tensor) -> Tensor:
    """Return the distance of vectors (N, D) to the nearest of the bank, both whitened, (N,).

    References:
        The Mahalanobis distance of arXiv 1807.03888, equation 2, to training images in place of class means.
    """
    return kth_distance(_mapped(state, vectors), state["bank"], 1)


def density_state(vectors: Tensor, labels: Tensor) -> State:
    """Whiten as above, and keep the distance of each vector of the bank to its ``own`` fifth neighbour in it."""
    state = whitened_state(vectors, labels)
    spacing = kth_distance(state["bank"], state["bank"], min(NEIGHBOUR + 1, len(state["bank"])))
    # Copies of one image would make their surroundings infinitely dense, and everything near them infinitely far out.
    return state | {"own": spacing.clamp_min(1e-3 * spacing.median()).clamp_min(1e-12)}


def density_score(state: State, vectors: Tensor) -> Tensor:
    """Return the fifth-neighbour distance of vectors (N, D) over the mean of it at the five neighbours, (N,).

    References:
        A local outlier factor (Breunig et al. 2000) with distances in place of reachability.
    """
    neighbours = _nearest(_mapped(state, vectors), state["bank"], min(NEIGHBOUR, len(state["bank"])))
    ratios = []
    for distances, index in neighbours:
        ratios.append(distances[:, -1] / state["own"][index].mean(1))
    return torch.cat(ratios)


def relative_state(vectors: Tensor, labels: Tensor) -> State:
    """Fit a Gaussian for each class, with one covariance, and one for all standardised training vectors (N, D)."""
    standard, state = _standardised(vectors)
    centres = _class_means(standard, labels)
    whitening = _whitening(standard - centres[labels], ridge=0.05)
    return state | {
        "map": whitening,
        "centres": centres[labels.unique()] @ whitening,
        "background": _whitening(standard, ridge=0.05),
    }


def relative_score(state: State, vectors: Tensor) -> Tensor:
    """Return the squared Mahalanobis distance of vectors (N, D) to the nearest class, less that to all images, (N,).

    References:
        Relative Mahalanobis distance, arXiv 2106.09022, equation 2; here of standardised features, with 0.05 of the
        mean eigenvalue added to each of both covariances.
    """
    mapped, centres = _mapped(state, vectors), state["centres"]
    to_classes = mapped.square().sum(1, keepdim=True) + centres.square().sum(1) - 2 * mapped @ centres.T
    to_all = (_standard(state, vectors) @ state["background"]).square().sum(1)
    return to_classes.min(1).values - to_all


def residual_state(vectors: Tensor, _labels: Tensor) -> State:
    """Find where standardised training vectors (N, D) hardly vary: the directions of the last 2 % of variance."""
    standard, state = _standardised(vectors)
    values, rotation = torch.linalg.eigh(standard.T @ standard / len(standard))
    few = max(1, int((values.clamp_min(0).cumsum(0) <= 0.02 * values.sum()).sum()))
    return state | {"map": rotation[:, :few]}


def residual_score(state: State, vectors: Tensor) -> Tensor:
    """Return the length of vectors (N, D) in those directions, (N,).

    References:
        The residual of ViM, arXiv 2203.10807, equation 4, of standardised features about their mean.
    """
    return _mapped(state, vectors).norm(dim=1)


def _standardised(vectors: Tensor) -> tuple[Tensor, State]:
    vectors = vectors.double()
    state = {"mean": vectors.mean(0), "scale": _scale(vectors)}
    return (vectors - state["mean"]) / state["scale"], state


def _standard(state: State, vectors: Tensor) -> Tensor:
    return (vectors.double() - state["mean"]) / state["scale"]


def _mapped(state: State, vectors: Tensor) -> Tensor:
    return _standard(state, vectors) @ state["map"]


def _class_means(vectors: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the vectors (N, D) of each class up to the largest (K, D), 0 where a class has none."""
    means = vectors.new_zeros(int(labels.max()) + 1, vectors.shape[1])
    for label in labels.unique():
        means[label] = vectors[labels == label].mean(0)
    return means


def _whitening(centred: Tensor, ridge: float) -> Tensor:
    """Return the map (D, D) that makes the covariance of vectors (N, D) one, with a share of its mean eigenvalue added.

    So directions in which the vectors hardly vary do not decide alone.
    """
    values, rotation = torch.linalg.eigh(centred.T @ centred / len(centred))
    return rotation / (values.clamp_min(0) + ridge * values.mean()).clamp_min(1e-12).sqrt()


def _scale(vectors: Tensor) -> Tensor:
    scale = vectors.std(0, correction=0)
    # A channel that never moves on ID images carries no information there and would divide by zero.
    return torch.where(scale > 1e-6 * scale.max(), scale, scale.max().clamp_min(1e-12))


def _normalised(vectors: Tensor) -> Tensor:
    vectors = vectors.double()
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _thinned(vectors: Tensor) -> Tensor:
    if len(vectors) <= BANK:
        return vectors
    return vectors[torch.linspace(0, len(vectors) - 1, BANK).round().long()]


def _as_saved(bank: Tensor) -> Tensor:
    """Return the float32 numbers that are saved of a bank, as the float64 that distances are computed in."""
    return bank.float().double()


def read_logits(activations: Activations) -> Tensor:
    """Read the logits (N, K)."""
    return activations.logits


def read_norms_and_logits(activations: Activations) -> Tensor:
    """Read the sum of absolute features before the logits (N, 1 + K)."""
    return torch.cat([activations.features.abs().sum(1, keepdim=True), activations.logits], 1)


def read_first_block(activations: Activations) -> Tensor:
    """Read the channel moments of the first block (N, D)."""
    return activations.moments[0]


def read_early_blocks(activations: Activations) -> Tensor:
    """Read the channel moments of all blocks but the last (N, D), of the only one where there is one."""
    *early, last = activations.moments
    return torch.cat(early or [last], 1)


def read_last_block(activations: Activations) -> Tensor:
    """Read the channel moments of the last block (N, D)."""
    return activations.moments[-1]


def read_features(activations: Activations) -> Tensor:
    """Read the features that the head reads (N, D)."""
    return activations.features


CLASSES = {"classes": ""}
PARTS: dict[str, Part] = {
    "garbage": Part(read_logits, garbage_state, garbage_score, CLASSES, "class", needs_garbage=True),
    "generalised-entropy": Part(read_logits, classes_state, gen_score, CLASSES, "class"),
    "gradient-norm": Part(read_norms_and_logits, classes_state, gradient_score, CLASSES, "class"),
    "relative-mahalanobis": Part(read_features, relative_state, relative_score, RELATIVE, "class"),
    "nearest-head": Part(read_features, nearest_state, nearest_score, NEAREST, "class"),
    "nearest-first": Part(read_first_block, nearest_state, nearest_score, NEAREST, "picture"),
    "nearest-early-whitened": Part(read_early_blocks, whitened_state, whitened_score, WHITENED, "picture"),
    "nearest-last": Part(read_last_block, nearest_state, nearest_score, NEAREST, "picture"),
    "density-last": Part(read_last_block, density_state, density_score, {**WHITENED, "own": "M"}, "picture"),
    "residual-head": Part(read_features, residual_state, residual_score, STANDARD, "picture"),
}

FORMER_PARTS: dict[str, Part] = {
    "garbage": PARTS["garbage"],
    "energy": Part(read_logits, classes_state, energy_score, CLASSES, "class"),
    "nearest-first": PARTS["nearest-first"],
    "nearest-first-whitened": Part(read_first_block, whitened_state, whitened_score, WHITENED, "picture"),
    "nearest-last": PARTS["nearest-last"],
    "density-last": PARTS["density-last"],
    "nearest-head": PARTS["nearest-head"],
    "residual-head": PARTS["residual-head"],
}
"""Parts of a detector of an earlier version, which is loaded and scores as before."""
KNOWN_PARTS = PARTS | FORMER_PARTS
