"""``joint``: one score from one forward pass, joined by one rule that needs held-out ID images alone.

A class branch asks for another class and always counts. A picture branch asks for another kind of picture; where that
says little about the class it can only raise the score. Synthetic outliers, made from the held-out images, weigh the
parts.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Self

import torch
from torch import Tensor

from invaudit.data import ImageSet, Splits, synthetic_outliers
from invaudit.models import Activations, Target, collect
from invaudit.ood.fit_inputs import FitInputs
from invaudit.ood.parts import PARTS, Branch, State, checked_state, listed, nearest_classes, read_first_block
from invaudit.ood.scores import require_finite
from invaudit.records import DetectorInfo
from invaudit.runtime.errors import ModelError, SettingError
from invaudit.stats import auroc

TAIL = 0.9
"""Quantile of held-out scores above which a part is scaled by the exponential tail."""
FEWEST = 30
"""Held-out ID images that scaling needs."""
OUTLIERS_PER_FAMILY = 200
"""Synthetic outliers of each family that weigh the parts."""
LARGE_PIXELS = 128 * 128
OUTLIERS_OF_LARGE_IMAGES = 50
LEAST_ERROR = 1e-4
"""No error on a family counts for less: some hundred outliers show no smaller one."""
LEAST_WEIGHT = 0.01
"""Weight of a part that tells nothing: not 0, so that no part is lost."""
ONSET = 1.0
"""What the picture branch must exceed to count: its mean over held-out ID images, as minus the log of a p-value has the
mean 1."""
ENOUGH = 2 / 3
"""Where the first block tells the classes so well, between chance and the network itself, both branches are one."""
BRANCHES = "branches"
"""Where a state says how many branches there are; without it there is one, as in detectors of earlier versions."""


@dataclass(frozen=True)
class Scale:
    """How far out a value of one part is among held-out ID images.

    Up to the 90 % quantile u: -log(1 - rank / (n + 1)). Above: (s - u) / b more than at u, with b the mean excess over
    u, the exponential tail that peaks over a threshold suggest (Pickands 1975); unbounded, so that no two far images
    tie.
    """

    reference: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """Return the scaled values (N,), continuous in the values where no held-out ones tie, and rising with them."""
        n = len(self.reference)
        threshold = self.reference.quantile(TAIL)
        excess = (self.reference - threshold).clamp_min(0)
        spread = excess.sum() / (self.reference > threshold).sum().clamp_min(1)
        # Where all held-out values are one, as 0 in a network with dead features, nothing says how far out is far.
        spread = spread.clamp_min(1e-9 * self.reference.abs().max().clamp_min(1e-3))
        # Ranks by linear interpolation between order statistics: a step function would give ties.
        rank = _interpolated_rank(values.clamp_max(threshold), self.reference)
        return -torch.log1p(-rank / (n + 1)) + (values - threshold).clamp_min(0) / spread


def mean_error(aurocs: Iterable[float]) -> float:
    """Return the geometric mean over families of 1 - AUROC, each at least 0.0001."""
    return geometric_mean(max(1 - value, LEAST_ERROR) for value in aurocs)


def part_weight(inside: Tensor, outliers: Mapping[str, Tensor]) -> float:
    """Return how much a part tells: the mean over families of log(0.5 / error), at least 0.01.

    The error is 1 - AUROC, but at least 0.0001. A family at chance contributes 0, one with an AUROC below 0.5 a
    negative amount.

    Args:
        inside: (N,) scores of held-out ID images.
        outliers: Scores (n,) of synthetic outliers by family.
    """
    aurocs = []
    for scores in outliers.values():
        aurocs.append(auroc(inside.numpy(), scores.numpy()))
    error = mean_error(aurocs)
    return max(math.log(0.5 / error), LEAST_WEIGHT)


def synthetic_activations(
    target: Target, held_out: ImageSet, *, seed: int = 0, n: int | None = None
) -> dict[str, Activations]:
    """Return activations of n synthetic outliers of each family, made from held-out ID images.

    Without n it is 200; 50 where images have over 128 x 128 pixels, since each takes a pass of a large network then.

    The seed is fixed where nothing else is said: a detector then depends on the network and its images alone.
    """
    if n is None:
        _, height, width = held_out.shape
        n = OUTLIERS_PER_FAMILY if height * width <= LARGE_PIXELS else OUTLIERS_OF_LARGE_IMAGES
    activations = {}
    for family, images in synthetic_outliers(held_out, seed, n).items():
        activations[family] = collect(target, images, keep_maps=False)
    return activations


def joined(scaled: Mapping[str, Tensor], weights: Mapping[str, float], branches: int) -> Tensor:
    """Return the joined score (N,) of scaled parts.

    Of one branch it is their weighted sum. Of two it is the weighted mean of the class branch, and what the weighted
    mean of the picture branch exceeds ``ONSET`` by.

    Args:
        scaled: Name of a part -> its scaled values (N,).
        weights: Name of a part -> its weight.
        branches: 1 or 2.
    """
    if branches == 1:
        return torch.stack([weights[name] * values for name, values in scaled.items()]).sum(0)
    return _mean_of("class", scaled, weights) + (_mean_of("picture", scaled, weights) - ONSET).clamp_min(0)


def first_block_tells_classes(
    activations: Activations, labels: Tensor, held_out: Activations, held_out_labels: Tensor, classes: int
) -> bool:
    """Return whether the looks of a picture tell its class about as well as the network does.

    The class of the nearest training image in the first block is right for some of the held-out images. That share,
    where 0 is chance and 1 what the network gets right, is at least ``ENOUGH``.
    """
    told = nearest_classes(read_first_block(activations), labels, read_first_block(held_out)) == held_out_labels
    known = held_out.logits[:, :classes].argmax(1) == held_out_labels
    least = 1 / classes + ENOUGH * (float(known.double().mean()) - 1 / classes)
    return float(told.double().mean()) >= least


class Joint:
    """Our detector: scaled parts in two branches, each weighed by how well it tells synthetic outliers from ID images.

    The parts stand in two branches, see ``Part.branch`` and ``joined``. Which depth of a network tells most depends on
    the images. On digits and clothes the first block tells the classes nearly as well as the network, and both branches
    are one; on photographs it says little, and an onset keeps it out of the order of images that look like ID.

    No image of an OOD set is seen. In a network of one block, or of none, some parts read the same vectors and count
    twice or three times.

    References:
        The parts name theirs. The sum of minus log p-values is Fisher's way to join tests (1932), here weighted and
        with a tail beyond the held-out images. The parts depend on one another, so that only the order of the sums has
        a meaning.
    """

    info = DetectorInfo(name="joint", role="ours", consumes="logits+features+moments", paper="invaudit")

    def __init__(self) -> None:
        self.state: dict[str, State] = {}
        self.branches = 1

    def fit(self, inputs: FitInputs) -> Self:
        """Fit the parts to the training images, and weigh them by outliers made from the held-out ones.

        Raises:
            SettingError: No held-out images, or what `fit_parts` refuses.
        """
        if inputs.held_out is None:
            raise SettingError("joint got no held-out images, from which it makes outliers; set held_out")
        return self.fit_parts(
            inputs.train,
            inputs.train_labels,
            held_out=inputs.fit,
            held_out_labels=inputs.fit_labels,
            outliers=synthetic_activations(inputs.target, inputs.held_out),
            garbage=inputs.target.has_garbage,
        )

    def fit_parts(
        self,
        activations: Activations,
        labels: Tensor,
        *,
        held_out: Activations,
        held_out_labels: Tensor,
        outliers: Mapping[str, Activations],
        garbage: bool,
    ) -> Self:
        """Fit the parts on training activations, their scales and weights on held-out ID activations.

        Args:
            activations: Activations of N training images.
            labels: (N,) classes, each of them at least once.
            held_out: Activations of at least 30 ID images that nothing was trained on.
            held_out_labels: Their classes.
            outliers: Activations of synthetic outliers by family, see ``synthetic_activations``.
            garbage: Whether the last logit is a garbage class.

        Raises:
            SettingError: Too few held-out images, no outliers, or labels of other classes than the network has.
        """
        if len(held_out) < FEWEST:
            raise SettingError(
                f"joint got {len(held_out)} held-out ID images, expected at least {FEWEST}; hold out more"
            )
        if not outliers:
            raise SettingError("joint got no family of synthetic outliers, expected at least one to weigh its parts by")
        classes = activations.logits.shape[1] - garbage
        _require_every_class(labels, classes)
        self.state = {}
        for name, part in PARTS.items():
            if part.needs_garbage and not garbage:
                continue
            state = _fit_part(name, activations, labels)
            inside = _scores(name, state, held_out)
            outside = {family: _scores(name, state, found) for family, found in outliers.items()}
            state["reference"] = inside.sort().values
            state["weight"] = torch.tensor(part_weight(inside, outside), dtype=torch.float64)
            self.state[name] = state
        one = first_block_tells_classes(activations, labels, held_out, held_out_labels, classes)
        self.branches = 1 if one else 2
        return self

    @property
    def part_weights(self) -> dict[str, float]:
        """Weight of each part, by name."""
        return {name: float(state["weight"]) for name, state in self.state.items()}

    def score_parts(self, activations: Activations) -> dict[str, Tensor]:
        """Return the score of each part (N,), not scaled."""
        return {name: _scores(name, state, activations) for name, state in self.state.items()}

    def combine(self, parts: dict[str, Tensor]) -> Tensor:
        """Return the joined score (N,) of the scores of the parts."""
        scaled = {name: Scale(self.state[name]["reference"])(values) for name, values in parts.items()}
        return joined(scaled, self.part_weights, self.branches)

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64, higher = more OOD.

        Raises:
            SettingError: The detector is not fitted.
        """
        if not self.state:
            raise SettingError("joint is not fitted; call fit first")
        return self.combine(self.score_parts(activations))

    def state_dict(self) -> State:
        """Return everything that was fitted, as named tensors."""
        tensors = {BRANCHES: torch.tensor(self.branches)}
        for name, state in self.state.items():
            for key, value in state.items():
                # A bank holds float32 numbers, see `parts`: half the size loses nothing.
                tensors[f"{name}.{key}"] = value.float() if key == "bank" else value
        return tensors

    def load_state_dict(self, state: State, like: Activations) -> "Joint":
        """Take what ``state_dict`` gave.

        Args:
            state: Named tensors.
            like: Activations of any images by the network that it was fitted to.

        Raises:
            ModelError: Parts that this version does not have, or a state that a part of such a network cannot have.
        """
        states: dict[str, State] = {}
        for key, value in state.items():
            if key == BRANCHES:
                continue
            name, _, field = key.partition(".")
            is_bank = field == "bank" and value.dtype == torch.float32
            states.setdefault(name, {})[field] = value.double() if is_bank else value
        unknown = states.keys() - PARTS.keys()
        if unknown or not states:
            raise ModelError(f"joint got the parts {listed(unknown)}, expected {', '.join(PARTS)}; fit it again")
        missing = [name for name, part in PARTS.items() if not part.needs_garbage and name not in states]
        if missing:
            raise ModelError(f"joint lacks the parts {listed(missing)}; fit it again")
        self.state = {}
        for name in PARTS:
            if name not in states:
                continue
            self.state[name] = checked_state(name, states[name], like)
            if len(self.state[name]["reference"]) < FEWEST:
                raise ModelError(f"{name}.reference has fewer than {FEWEST} values; fit it again")
        self.branches = _checked_branches(state.get(BRANCHES, torch.tensor(1)))
        return self


def fit_joint(target: Target, splits: Splits) -> tuple[Joint, dict[str, Activations]]:
    """Return a detector that is fitted to a network by ``train`` and ``fit``, and the outliers that weighed its parts.

    Raises:
        SettingError: What ``Joint.fit_parts`` refuses.
    """
    train, fit = (collect(target, images, keep_maps=False) for images in (splits.train, splits.fit))
    outliers = synthetic_activations(target, splits.fit)
    joint = Joint().fit_parts(
        train,
        splits.train.labels,
        held_out=fit,
        held_out_labels=splits.fit.labels,
        outliers=outliers,
        garbage=target.has_garbage,
    )
    return joint, outliers


def _mean_of(branch: Branch, scaled: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted mean (N,) of the parts of a branch."""
    names = [name for name in scaled if PARTS[name].branch == branch]
    total = sum(weights[name] for name in names)
    return torch.stack([weights[name] / total * scaled[name] for name in names]).sum(0)


def _checked_branches(branches: Tensor) -> int:
    """Return the number of branches that a file holds.

    Raises:
        ModelError: It is neither 1 nor 2.
    """
    if branches.shape != () or branches.dtype != torch.int64 or int(branches) not in (1, 2):
        raise ModelError(f"{BRANCHES} is {str(branches.tolist())[:40]}, expected 1 or 2; fit it again")
    return int(branches)


def _require_every_class(labels: Tensor, classes: int) -> None:
    """Refuse training images of other classes than the network has, or of too few of them."""
    odd = set(labels.tolist()) ^ set(range(classes))
    if odd:
        raise SettingError(
            f"joint got training images {'of' if min(odd) in labels else 'without'} class {min(odd)}, "
            f"expected images of each of the network's {classes} classes and of no other"
        )


def _fit_part(name: str, activations: Activations, labels: Tensor) -> State:
    part = PARTS[name]
    state = {}
    for key, value in part.fit(part.read(activations), labels).items():
        # Contiguous, as they come back from a file: another memory layout gives other last bits.
        state[key] = value.contiguous()
    return state


def _scores(name: str, state: State, activations: Activations) -> Tensor:
    return require_finite(PARTS[name].score(state, PARTS[name].read(activations)), f"joint/{name}")


def _interpolated_rank(values: Tensor, reference: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        # What is exported has no such search.
        upper = (reference <= values[:, None]).sum(1)
    else:
        upper = torch.searchsorted(reference, values.contiguous(), right=True)
    low = reference[(upper - 1).clamp_min(0)]
    high = reference[upper.clamp_max(len(reference) - 1)]
    gap = high - low
    fraction = torch.where(gap > 0, (values - low) / gap.clamp_min(1e-300), torch.zeros_like(values))
    # Below the smallest reference value: decay towards rank 0 with the distance, in units of the reference's spread.
    spread = (reference[-1] - reference[0]).clamp_min(1e-300)
    below = 1 / (1 + (reference[0] - values).clamp_min(0) / spread)
    return torch.where(upper == 0, below, upper + fraction.clamp(0, 1))
