"""OOD scores that need logits alone; higher = more OOD."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from invaudit.models import Activations
from invaudit.runtime.errors import SettingError


@dataclass(frozen=True)
class Info:
    """Where a detector comes from."""

    paper: str
    equation: str = ""


def garbage_probability(logits: Tensor, classes: int) -> Tensor:
    """Return the softmax probability of the garbage class, (N,) in [0, 1], of logits (N, classes + 1)."""
    return logits.double().softmax(1)[:, classes]


def garbage_logit(logits: Tensor, classes: int) -> Tensor:
    """Return the garbage logit minus the largest class logit, (N,), of logits (N, classes + 1)."""
    return logits[:, classes].double() - logits[:, :classes].double().max(1).values


def garbage_odds(logits: Tensor, classes: int) -> Tensor:
    """Return the log-odds of the garbage class, (N,), of logits (N, classes + 1).

    It ranks like the garbage probability, but keeps differences that a probability near 0 or 1 loses.
    """
    return logits[:, classes].double() - logits[:, :classes].double().logsumexp(1)


def max_probability(logits: Tensor, classes: int) -> Tensor:
    """Return one minus the largest probability of an ID class, (N,), the softmax taken over all outputs."""
    return 1 - logits.double().softmax(1)[:, :classes].max(1).values


def uncertainty(logits: Tensor, classes: int) -> Tensor:  # noqa: ARG001
    """Return the papers' uncertainty estimate UE over all K outputs, (N,) in [0, 1].

    UE = 1 - sum_i (p_i - 1/K)^2 / (1 - 1/K); 0 for a one-hot answer, 1 for a uniform one. A confident garbage answer is
    one-hot too: UE alone is no OOD score for a garbage-class network, and is here as the papers have it.

    Source: arXiv 2505.23448, section 3.
    """
    outputs = logits.shape[1]
    probabilities = logits.double().softmax(1)
    return 1 - (probabilities - 1 / outputs).square().sum(1) / (1 - 1 / outputs)


@dataclass(frozen=True)
class LogitScore:
    """A detector that is a function of logits; nothing to fit."""

    function: Callable[[Tensor, int], Tensor]
    needs_garbage: bool
    info: Info
    classes: int = 0
    consumes = "logits"
    requires_fit = False

    def fit(self, activations: Activations, labels: Tensor) -> "LogitScore":  # noqa: ARG002
        """Return itself."""
        return self

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64.

        Raises:
            SettingError: The score reads a garbage class that the logits do not have, or a logit is not finite.
        """
        found = activations.logits.shape[1]
        if self.needs_garbage and found != self.classes + 1:
            raise SettingError(
                f"{self.function.__name__} needs a garbage class: got {found} logits, expected {self.classes + 1}"
            )
        return require_finite(self.function(activations.logits, self.classes), self.function.__name__)


def require_finite(scores: Tensor, name: str) -> Tensor:
    """Return scores as float64, refusing NaN and infinity.

    Raises:
        SettingError: Names the detector and the first bad position.
    """
    scores = scores.detach().double()
    if not scores.isfinite().all():
        where = int((~scores.isfinite()).nonzero()[0])
        raise SettingError(f"{name} gives {float(scores[where])} for image {where}; check the images and the network")
    return scores


def logit_scores(classes: int, *, garbage: bool) -> dict[str, LogitScore]:
    """Return our logit scores by row name; those of the garbage class only where there is one."""
    known = {
        "garbage-probability": LogitScore(garbage_probability, True, Info("arXiv 2505.23448"), classes),
        "garbage-logit": LogitScore(garbage_logit, True, Info("arXiv 2505.23448"), classes),
        "max-probability": LogitScore(max_probability, False, Info("arXiv 1610.02136"), classes),
        "uncertainty": LogitScore(uncertainty, False, Info("arXiv 2505.23448", "UE"), classes),
    }
    return {name: score for name, score in known.items() if garbage or not score.needs_garbage}


def predictions(logits: Tensor) -> Tensor:
    """Return the predicted output of each image, (N,) int64, from logits (N, outputs), a garbage class among them."""
    return logits.argmax(1)


def confidence(logits: Tensor) -> Tensor:
    """Return the largest softmax probability over all outputs from logits (N, outputs), (N,) float64."""
    return logits.double().softmax(1).max(1).values


def fools_network(logits: Tensor, classes: int) -> Tensor:
    """Return which images are called an ID class with probability above 0.5, (N,) bool, from logits (N, outputs)."""
    return torch.gt(logits.double().softmax(1)[:, :classes].max(1).values, 0.5)
