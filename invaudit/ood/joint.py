"""``joint``: one score from one forward pass, joined by one rule that needs held-out ID images and nothing else."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invaudit.models import Activations
from invaudit.ood.parts import PARTS, State
from invaudit.ood.scores import Info, finite
from invaudit.runtime.errors import ModelError, SettingError

TAIL = 0.9
FEWEST = 30


@dataclass(frozen=True)
class Scale:
    """How far out a value of one part is among held-out ID images.

    Up to the 90 % quantile u: -log(1 - rank / (n + 1)). Above: log 10 + (s - u) / b with b the mean excess over u, the
    exponential tail that peaks over a threshold suggest (Pickands 1975); unbounded, so that no two far images tie.
    """

    reference: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """Return the scaled values (N,), continuous in the values and rising with them."""
        n = len(self.reference)
        threshold = self.reference.quantile(TAIL)
        excess = (self.reference - threshold).clamp_min(0)
        spread = excess.sum() / (self.reference > threshold).sum().clamp_min(1)
        spread = spread.clamp_min(1e-9 * self.reference.abs().max().clamp_min(1e-300))
        # Ranks by linear interpolation between order statistics: a step function would give ties.
        rank = _interpolated_rank(values, self.reference)
        body = -torch.log1p(-rank / (n + 1))
        at_threshold = -math.log1p(-(1 + TAIL * (n - 1)) / (n + 1))
        return torch.where(values <= threshold, body, at_threshold + (values - threshold) / spread)


class Joint:
    """Our detector: the sum of its scaled parts.

    Args:
        parts: Names of ``PARTS``; by default all that the network can serve.

    No weight is fitted and no OOD image is seen. In a network of one block, or of none, some parts read the same
    vectors and count twice or three times.

    *Source:* the parts name theirs. The sum of minus log p-values is Fisher's way to join tests (1932), here with a
    tail beyond the held-out images. The parts depend on one another, so that only the order of the sums has a meaning.
    """

    consumes = "features"
    requires_fit = True
    info = Info("invaudit")

    def __init__(self, parts: tuple[str, ...] | None = None) -> None:
        self.parts = parts
        self.state: dict[str, State] = {}

    def fit(self, activations: Activations, labels: Tensor, *, held_out: Activations, garbage: bool) -> "Joint":
        """Fit the parts on training activations and their scales on held-out ID activations.

        Args:
            activations: Of N training images.
            labels: (N,) classes.
            held_out: Of ID images that nothing was trained on, at least 30.
            garbage: Whether the last logit is a garbage class.

        Raises:
            SettingError: Too few held-out images.
        """
        if len(held_out) < FEWEST:
            raise SettingError(
                f"joint got {len(held_out)} held-out ID images, expected at least {FEWEST}; hold out more"
            )
        self.parts = self.parts or tuple(name for name, part in PARTS.items() if garbage or not part.needs_garbage)
        self.state = {}
        for name in self.parts:
            # Contiguous, as they come back from a file: another memory layout gives other last bits.
            part = PARTS[name]
            fitted = part.fit(part.read(activations), labels)
            state = {key: value.contiguous() for key, value in fitted.items()}
            reference = finite(part.score(state, part.read(held_out)), f"joint/{name}").sort().values
            self.state[name] = {**state, "reference": reference}
        return self

    def score_parts(self, activations: Activations) -> dict[str, Tensor]:
        """Return the score of each part (N,), not scaled."""
        return {
            name: finite(PARTS[name].score(state, PARTS[name].read(activations)), f"joint/{name}")
            for name, state in self.state.items()
        }

    def combine(self, parts: dict[str, Tensor]) -> Tensor:
        """Return the joined score (N,) of the scores of the parts."""
        scaled = [Scale(self.state[name]["reference"])(values) for name, values in parts.items()]
        return torch.stack(scaled).sum(0)

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64, higher = more OOD."""
        return self.combine(self.score_parts(activations))

    def state_dict(self) -> State:
        """Return everything that was fitted, as named tensors."""
        return {f"{name}.{key}": value for name, state in self.state.items() for key, value in state.items()}

    def load_state_dict(self, state: State) -> "Joint":
        """Take what ``state_dict`` gave.

        Raises:
            ModelError: Parts that this version does not have.
        """
        if unknown := {key.partition(".")[0] for key in state} - PARTS.keys():
            raise ModelError(
                f"joint got the parts {', '.join(sorted(unknown))}, expected {', '.join(PARTS)}; fit it again"
            )
        self.state = {}
        for key, value in state.items():
            name, _, field = key.partition(".")
            self.state.setdefault(name, {})[field] = value
        self.parts = tuple(name for name in PARTS if name in self.state)
        self.state = {name: self.state[name] for name in self.parts}
        return self


def _interpolated_rank(values: Tensor, reference: Tensor) -> Tensor:
    upper = torch.searchsorted(reference, values.contiguous(), right=True)
    low = reference[(upper - 1).clamp_min(0)]
    high = reference[upper.clamp_max(len(reference) - 1)]
    gap = high - low
    fraction = torch.where(gap > 0, (values - low) / gap.clamp_min(1e-300), torch.zeros_like(values))
    # Below the smallest reference value: decay towards rank 0 with the distance, in units of the reference's spread.
    spread = (reference[-1] - reference[0]).clamp_min(1e-300)
    below = 1 / (1 + (reference[0] - values).clamp_min(0) / spread)
    return torch.where(upper == 0, below, upper + fraction.clamp(0, 1))
