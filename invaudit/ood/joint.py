"""``joint``: one score from one forward pass, joined by one rule that needs held-out ID images alone.

A class branch asks for another class, a picture branch for another kind of picture. Synthetic outliers, made from the
held-out images, weigh the parts of a branch, and the branches.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Self, get_args

import torch
from torch import Tensor

from invaudit.data import KEEP_PICTURE, ImageSet, Splits, synthetic_outliers
from invaudit.models import Activations, Target, collect
from invaudit.ood.fit_inputs import FitInputs
from invaudit.ood.parts import FORMER_PARTS, KNOWN_PARTS, PARTS, Branch, State, checked_state, listed
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
LEAST_TOLD = 0.1
"""A part that tells nothing counts as if it told so much, so that no part is lost."""
INSIDE = "inside"
"""Held-out ID images, among names of families of outliers."""
BRANCHES: tuple[Branch, ...] = get_args(Branch)
BRANCH_WEIGHTS = "branches"
"""Where a state has the weights of both branches; those of earlier versions have none, and one weighted sum."""


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


def told(inside: Tensor, outliers: Mapping[str, Tensor]) -> float:
    """Return how much a score tells: the mean over families of log(0.5 / error), at least 0.1.

    The error is 1 - AUROC, but at least 0.0001. A family at chance contributes 0, one with an AUROC below 0.5 a
    negative amount.

    Args:
        inside: (N,) scores of held-out ID images.
        outliers: Scores (n,) of synthetic outliers by family.
    """
    aurocs = []
    for scores in outliers.values():
        aurocs.append(auroc(inside.numpy(), scores.numpy()))
    return max(math.log(0.5 / mean_error(aurocs)), LEAST_TOLD)


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


def branch_mean(branch: Branch, scaled: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted mean (N,) of the scaled parts (N,) of a branch."""
    names = [name for name in scaled if PARTS[name].branch == branch]
    total = sum(weights[name] for name in names)
    return torch.stack([weights[name] / total * scaled[name] for name in names]).sum(0)


class Joint:
    """Our detector: scaled parts in two branches, weighed by how well they tell synthetic outliers from ID images.

    Which depth of a network tells most depends on the images. On digits and clothes early layers tell more than the
    head, on photographs they say little about the class. So the parts that read the head are one branch, those that
    read the blocks the other (``Part.branch``), and neither drowns the other.

    - The weight of a part in its branch is the square of what it tells (``told``), so that parts that tell little
      hardly blur the others.
    - The weight of a branch is the square root of what its mean tells of the outliers that keep the picture and lose
      the class alone (``KEEP_PICTURE``), which are most like another class. The root, since these are two families.

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
        self.branch_weights: Tensor | None = None

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
            outliers=synthetic_activations(inputs.target, inputs.held_out),
            garbage=inputs.target.has_garbage,
        )

    def fit_parts(
        self,
        activations: Activations,
        labels: Tensor,
        *,
        held_out: Activations,
        outliers: Mapping[str, Activations],
        garbage: bool,
    ) -> Self:
        """Fit the parts on training activations, their scales and weights on held-out ID activations.

        Args:
            activations: Activations of N training images.
            labels: (N,) classes, each of them at least once.
            held_out: Activations of at least 30 ID images that nothing was trained on.
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
        found = {INSIDE: held_out, **outliers}
        scaled: dict[str, dict[str, Tensor]] = {where: {} for where in found}
        for name, part in PARTS.items():
            if part.needs_garbage and not garbage:
                continue
            state = _fit_part(name, activations, labels)
            scores = {where: _scores(name, state, images) for where, images in found.items()}
            outside = {family: scores[family] for family in outliers}
            state["reference"] = scores[INSIDE].sort().values
            state["weight"] = torch.tensor(told(scores[INSIDE], outside) ** 2, dtype=torch.float64)
            self.state[name] = state
            for where, values in scores.items():
                scaled[where][name] = Scale(state["reference"])(values)
        self.branch_weights = self._weighed(scaled)
        return self

    def _weighed(self, scaled: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        """Return the weights of the branches (2,) for scaled parts of held-out images and of families of outliers."""
        families = [name for name in KEEP_PICTURE if name in scaled] or [name for name in scaled if name != INSIDE]
        weights = []
        for branch in BRANCHES:
            means = {where: branch_mean(branch, scaled[where], self.part_weights) for where in (INSIDE, *families)}
            weights.append(math.sqrt(told(means.pop(INSIDE), means)))
        return torch.tensor(weights, dtype=torch.float64)

    @property
    def part_weights(self) -> dict[str, float]:
        """Weight of each part, by name."""
        return {name: float(state["weight"]) for name, state in self.state.items()}

    @property
    def named_branch_weights(self) -> dict[str, float]:
        """Weight of each branch, by name; none in a detector of an earlier version."""
        if self.branch_weights is None:
            return {}
        return dict(zip(BRANCHES, self.branch_weights.tolist(), strict=True))

    def score_parts(self, activations: Activations) -> dict[str, Tensor]:
        """Return the score of each part (N,), not scaled."""
        return {name: _scores(name, state, activations) for name, state in self.state.items()}

    def combine(self, parts: dict[str, Tensor]) -> Tensor:
        """Return the joined score (N,) of the scores of the parts."""
        scaled = {name: Scale(self.state[name]["reference"])(values) for name, values in parts.items()}
        weights = self.part_weights
        if self.branch_weights is None:
            return torch.stack([weights[name] * values for name, values in scaled.items()]).sum(0)
        branches = []
        for branch, weight in zip(BRANCHES, self.branch_weights, strict=True):
            branches.append(weight * branch_mean(branch, scaled, weights))
        return torch.stack(branches).sum(0)

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
        tensors = {} if self.branch_weights is None else {BRANCH_WEIGHTS: self.branch_weights}
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
            if key == BRANCH_WEIGHTS:
                continue
            name, _, field = key.partition(".")
            is_bank = field == "bank" and value.dtype == torch.float32
            states.setdefault(name, {})[field] = value.double() if is_bank else value
        self.branch_weights = _checked_weights(state[BRANCH_WEIGHTS]) if BRANCH_WEIGHTS in state else None
        parts = FORMER_PARTS if self.branch_weights is None else PARTS
        unknown = states.keys() - parts.keys()
        if unknown or not states:
            raise ModelError(f"joint got the parts {listed(unknown)}, expected {', '.join(parts)}; fit it again")
        missing = [name for name, part in parts.items() if not part.needs_garbage and name not in states]
        if missing:
            raise ModelError(f"joint lacks the parts {listed(missing)}; fit it again")
        self.state = {}
        for name in parts:
            if name not in states:
                continue
            self.state[name] = checked_state(name, states[name], like)
            if len(self.state[name]["reference"]) < FEWEST:
                raise ModelError(f"{name}.reference has fewer than {FEWEST} values; fit it again")
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
        outliers=outliers,
        garbage=target.has_garbage,
    )
    return joint, outliers


def _checked_weights(weights: Tensor) -> Tensor:
    """Return the weights of the branches that a file holds.

    Raises:
        ModelError: They are not two positive numbers.
    """
    good = weights.shape == (len(BRANCHES),) and weights.dtype == torch.float64
    if not (good and weights.isfinite().all() and (weights > 0).all()):
        raise ModelError(f"{BRANCH_WEIGHTS} is {str(weights.tolist())[:40]}, expected 2 positive numbers; fit it again")
    return weights


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
    part = KNOWN_PARTS[name]
    return require_finite(part.score(state, part.read(activations)), f"joint/{name}")


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
