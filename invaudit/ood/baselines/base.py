"""What every row has in common: a detector class of pytorch-ood, how it is fed, and what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor

from invaudit.data.vision import import_torchvision
from invaudit.models import Activations
from invaudit.ood.fit_inputs import FitInputs
from invaudit.ood.scores import require_finite
from invaudit.records import DetectorInfo
from invaudit.records.ood import Cost
from invaudit.runtime.errors import SettingError

Score = Callable[[Activations], Tensor]
Hyperparameters = Mapping[str, Any]
_CHECKED = 64


@dataclass(frozen=True)
class ScoreFunction:
    """How one detector gets its input: its score function, and in words what it reads."""

    score: Score
    form: str


@dataclass(frozen=True)
class FittedBaseline:
    """A fitted detector of pytorch-ood, which sees the ID classes alone.

    Attributes:
        info: What it is.
        classes: Number of ID classes.
        form: What it reads, in words.
        function: From activations to scores (N,).
    """

    info: DetectorInfo
    classes: int
    form: str
    function: Score = field(repr=False)

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64, higher = more OOD; an image's score does not depend on the others.

        Raises:
            SettingError: An input or a score is not finite.
        """
        activations = activations.classes_only(self.classes)
        # A NaN does not always reach the score: think of a histogram of neurons, or of a neighbour search.
        for part in self.info.consumes.split("+"):
            for values in _checked_values(activations, part):
                if not values.isfinite().all():
                    raise SettingError(
                        f"{self.info.name} got {part} that are not finite; check the images and the network"
                    )
        return require_finite(self.function(activations), self.info.name)


def _checked_values(activations: Activations, part: str) -> tuple[Tensor, ...]:
    if part == "moments":
        return activations.moments
    # Features come after the maps, and are far smaller.
    return (getattr(activations, "features" if part == "maps" else part),)


@dataclass(frozen=True)
class Baseline:
    """A row of the comparison: a detector class of pytorch-ood and how it is fed.

    Attributes:
        name: Name of the row: that of the class, perhaps with ``@`` and what is special.
        consumes: ``logits``, ``features``, ``moments``, ``maps`` or ``images``, several joined by ``+``.
        build: From the row, what to fit with and hyperparameters, to the fed detector.
        fits_on: ``train``, or ``fit`` where the method asks for held-out ID images.
        cost: ``high`` where it takes milliseconds for each image.
        defaults: Hyperparameters for which the class has no default.
        grid: Settings that ``tuned`` tries; None where there is nothing to tune, or not from stored activations.
    """

    name: str
    consumes: str
    build: "Callable[[Baseline, FitInputs, Hyperparameters], ScoreFunction]"
    fits_on: str = "train"
    cost: Cost = "low"
    defaults: Callable[[FitInputs], Hyperparameters] = lambda _: {}
    grid: Callable[[FitInputs], list[Hyperparameters]] | None = None

    @property
    def class_name(self) -> str:
        """Name of the class in ``pytorch_ood.detector``."""
        return self.name.partition("@")[0]

    @property
    def kind(self) -> Any:
        """The class."""
        return getattr(library(), self.class_name)

    @property
    def requires_fit(self) -> bool:
        """Whether it is fitted to anything."""
        return self.kind.requires_fit

    @property
    def info(self) -> DetectorInfo:
        """What the detector is; the paper as the library has it."""
        paper = self.kind.info.paper
        described = f"{paper.title}, {paper.venue} {paper.year}, {paper.url}" if paper else "no paper"
        return DetectorInfo(name=self.name, role="library", consumes=self.consumes, cost=self.cost, paper=described)

    def detector(self, inputs: FitInputs, **hyperparameters: Any) -> FittedBaseline:
        """Return the fitted detector.

        Args:
            inputs: What to fit with; of a network with a garbage class, the detector sees the ID classes alone.
            hyperparameters: Arguments of the class, in place of its defaults.

        Raises:
            NotApplicableError: The network lacks what the method needs.
            SettingError: Scores of held-out ID images are not finite, or all the same.
        """
        inputs = inputs.classes_only()
        with torch.no_grad():
            fed = self.build(self, inputs, {**self.defaults(inputs), **hyperparameters})
        fitted = FittedBaseline(self.info, inputs.target.classes, fed.form, fed.score)
        scores = fitted.score(inputs.fit.select(slice(_CHECKED)))
        if len(scores) > 1 and scores.min() == scores.max():
            raise SettingError(f"{self.name} gives all of {len(scores)} held-out ID images the score {scores[0]:g}")
        return fitted


class LibraryDetector:
    """A detector of pytorch-ood with the settings of its row, as the registry of detectors has it.

    Args:
        row: How it is fed.
    """

    def __init__(self, row: Baseline) -> None:
        self.row = row

    @property
    def info(self) -> DetectorInfo:
        """What it is."""
        return self.row.info

    def fit(self, inputs: FitInputs) -> Self:
        """Fit it, and return itself; raises what `Baseline.detector` raises."""
        self.fitted = self.row.detector(inputs)
        return self

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64."""
        return self.fitted.score(activations)


def library() -> Any:
    """Import ``pytorch_ood.detector``.

    Raises:
        InputError: torchvision, which it needs, does not fit torch.
    """
    import_torchvision()
    return import_module("pytorch_ood.detector")


def batched(score: Score, size: int) -> Score:
    """Return a score function that sees at most ``size`` images at once."""

    def in_batches(activations: Activations) -> Tensor:
        scores = []
        for start in range(0, len(activations), size):
            scores.append(score(activations.select(slice(start, start + size))))
        return torch.cat(scores)

    return in_batches


def plain(values: Tensor) -> Tensor:
    """Return values as the library takes them: detached, on the CPU, float32, contiguous."""
    return values.detach().cpu().float().contiguous()
