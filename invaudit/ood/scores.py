"""OOD scores that need logits alone; higher = more OOD."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from invaudit.models import Activations
from invaudit.ood.fit_inputs import FitInputs
from invaudit.records import DetectorInfo
from invaudit.runtime.errors import NotApplicableError, SettingError

PAPERS = "arXiv 2505.23448"
"""Where the garbage class, and the scores that read it, come from."""


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

    References:
        arXiv 2505.23448, section 3.
    """
    outputs = logits.shape[1]
    probabilities = logits.double().softmax(1)
    return 1 - (probabilities - 1 / outputs).square().sum(1) / (1 - 1 / outputs)


class LogitScore:
    """A detector that is a function of the logits; it learns nothing but how many classes there are.

    Args:
        name: Its name in tables.
        function: From logits (N, outputs) and the number of ID classes to scores (N,).
        needs_garbage: Whether it reads the logit of a garbage class.
        paper: Where it comes from.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Tensor, int], Tensor],
        *,
        needs_garbage: bool = False,
        paper: str,
    ) -> None:
        consumes = "logits+garbage" if needs_garbage else "logits"
        self.info = DetectorInfo(name=name, role="ours", consumes=consumes, paper=paper)
        self.function, self.needs_garbage, self.classes = function, needs_garbage, 0

    def fit(self, inputs: FitInputs) -> Self:
        """Note how many ID classes the network has, and return itself.

        Raises:
            NotApplicableError: The score reads a garbage class, and the network has none.
        """
        if self.needs_garbage and not inputs.target.has_garbage:
            raise NotApplicableError("needs a garbage class")
        self.classes = inputs.target.classes
        return self

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64.

        Raises:
            SettingError: It is not fitted, it reads a garbage class that the logits do not have, or a logit is not
                finite.
        """
        name = self.info.name
        if not self.classes:
            raise SettingError(f"{name} is not fitted; call fit first")
        outputs = activations.logits.shape[1]
        if self.needs_garbage and outputs != self.classes + 1:
            raise SettingError(f"{name} needs a garbage class: got {outputs} logits, expected {self.classes + 1}")
        return require_finite(self.function(activations.logits, self.classes), name)


def require_finite(scores: Tensor, name: str) -> Tensor:
    """Return scores as float64, refusing NaN and infinity.

    Raises:
        SettingError: Names the detector and the first bad position.
    """
    scores = scores.detach().double()
    if not scores.isfinite().all():
        first = int((~scores.isfinite()).nonzero()[0, 0])
        raise SettingError(f"{name} gives {scores[first].tolist()} for image {first}; check the images and the network")
    return scores


def predictions(logits: Tensor) -> Tensor:
    """Return the predicted output of each image, (N,) int64, from logits (N, outputs), a garbage class among them."""
    return logits.argmax(1)


def confidence(logits: Tensor) -> Tensor:
    """Return the largest softmax probability over all outputs from logits (N, outputs), (N,) float64."""
    return logits.double().softmax(1).max(1).values


def fools_network(logits: Tensor, classes: int) -> Tensor:
    """Return which images are called an ID class with probability above 0.5, (N,) bool, from logits (N, outputs)."""
    return torch.gt(logits.double().softmax(1)[:, :classes].max(1).values, 0.5)
