"""What every row has in common: what a detector is fitted with, and what comes of it."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from invaudit.data import import_torchvision
from invaudit.models import Activations, Target
from invaudit.ood.scores import Info, require_finite
from invaudit.runtime.errors import DataError, SettingError

Score = Callable[[Activations], Tensor]
Hyperparameters = Mapping[str, Any]
_CHECKED = 64


@dataclass(frozen=True)
class FitInputs:
    """What the detectors of one network are fitted with.

    Attributes:
        target: The network with ID classes alone (``Target.first_outputs``).
        train: Activations of N training images; maps are not needed.
        train_labels: (N,) int64, every class present.
        maps: Activations with maps of training images, perhaps of the first M only.
        maps_labels: (M,) int64.
        fit: Activations of held-out ID images.
        fit_labels: Their labels, int64.
        rng: Source of what a detector draws.

    Raises:
        SettingError: The network, or the logits, have a garbage class.
        DataError: A class has no training image.
    """

    target: Target
    train: Activations
    train_labels: Tensor
    maps: Activations
    maps_labels: Tensor
    fit: Activations
    fit_labels: Tensor
    rng: torch.Generator

    def __post_init__(self) -> None:
        """Check that the detectors see ID classes alone, and all of them."""
        classes, found = self.target.classes, self.train.logits.shape[1]
        if self.target.has_garbage or found != classes:
            raise SettingError(
                f"got {self.target.outputs} outputs and {found} logits, expected those of the {classes} ID classes; "
                "pass target.first_outputs(n) and activations.classes_only(n)"
            )
        if self.train_labels.unique().tolist() != list(range(classes)):
            present = self.train_labels.unique().tolist()
            raise DataError(f"training labels hold the classes {present}, expected every one of 0 to {classes - 1}")

    @property
    def head(self) -> nn.Linear:
        """A frozen copy of the last linear layer, on the CPU."""
        return deepcopy(self.target.head).cpu().requires_grad_(False)

    def seed(self) -> int:
        """Draw a seed."""
        return int(torch.randint(2**62, (), generator=self.rng))


@dataclass(frozen=True)
class ScoreFunction:
    """How one detector gets its input: its score function, and in words what it reads."""

    score: Score
    form: str


@dataclass(frozen=True)
class Detector:
    """A fitted detector of pytorch-ood.

    Attributes:
        name: Name of the row.
        consumes: ``logits``, ``features``, ``maps`` or ``images``.
        requires_fit: Whether it was fitted to anything.
        info: Where it comes from.
        form: In words, what it reads.
    """

    name: str
    consumes: str
    requires_fit: bool
    info: Info
    form: str
    function: Score = field(repr=False)

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64, higher = more OOD; an image's score does not depend on the others.

        Raises:
            SettingError: An input or a score is not finite.
        """
        # A NaN does not always reach the score: think of a histogram of neurons, or of a neighbour search.
        checked = "features" if self.consumes == "maps" else self.consumes
        if not getattr(activations, checked).isfinite().all():
            raise SettingError(f"{self.name} got {checked} that are not finite; check the images and the network")
        return require_finite(self.function(activations), self.name)


@dataclass(frozen=True)
class Baseline:
    """A row of the comparison: a detector class of pytorch-ood and how it is fed.

    Attributes:
        name: Name of the row: that of the class, perhaps with ``@`` and what is special.
        consumes: ``logits``, ``features``, ``maps`` or ``images``.
        build: From the row, what to fit with and knobs, to the fed detector.
        fits_on: ``train``, or ``fit`` where the method asks for held-out ID images.
        defaults: Knobs for which the class has no default.
        grid: Settings that ``tuned`` tries; None where there is nothing to tune, or not from stored activations.
    """

    name: str
    consumes: str
    build: "Callable[[Baseline, FitInputs, Hyperparameters], ScoreFunction]"
    fits_on: str = "train"
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
    def info(self) -> Info:
        """Where the detector comes from, as the library has it."""
        paper = self.kind.info.paper
        return Info(f"{paper.title}, {paper.venue} {paper.year}, {paper.url}" if paper else "no paper")

    def detector(self, fitting: FitInputs, **knobs: Any) -> Detector:
        """Return the fitted detector.

        Args:
            fitting: What to fit with.
            knobs: Arguments of the class, in place of its defaults.

        Raises:
            NotApplicableError: The network lacks what the method needs.
            SettingError: Scores of held-out ID images are not finite, or all the same.
        """
        with torch.no_grad():
            fed = self.build(self, fitting, {**self.defaults(fitting), **knobs})
        made = Detector(self.name, self.consumes, self.requires_fit, self.info, fed.form, fed.score)
        scores = made.score(fitting.fit.select(slice(_CHECKED)))
        if len(scores) > 1 and scores.min() == scores.max():
            raise SettingError(f"{self.name} gives all of {len(scores)} held-out ID images the score {scores[0]:g}")
        return made


def library() -> Any:
    """Import ``pytorch_ood.detector``.

    Raises:
        InputError: torchvision, which it needs, does not fit torch.
    """
    import_torchvision()
    return import_module("pytorch_ood.detector")


def batched(score: Score, size: int) -> Score:
    """Return a score function that sees at most ``size`` images at once."""

    def in_batches(found: Activations) -> Tensor:
        return torch.cat([score(found.select(slice(i, i + size))) for i in range(0, len(found), size)])

    return in_batches


def plain(values: Tensor) -> Tensor:
    """Return values as the library takes them: detached, on the CPU, float32, contiguous."""
    return values.detach().cpu().float().contiguous()
