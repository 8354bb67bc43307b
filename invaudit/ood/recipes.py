"""Recipes: every open choice of the garbage cycle as a named setting, with the reason for its default."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from invaudit.data import NOISES
from invaudit.inversion import InversionSettings
from invaudit.models import TrainingSettings
from invaudit.models.settings import foreign_arch
from invaudit.runtime.describing import Known
from invaudit.runtime.settings import Device, Settings, Weight

Loss = Literal["logit-norm", "outlier-exposure", "energy", "vos"]
"""Losses of ``invaudit.ood.losses``."""

WITH_OUTLIERS = frozenset({"outlier-exposure", "energy"})
"""Those that ask for outliers; the others would ignore them."""


CYCLE_INVERSION = InversionSettings(steps=50, batch_size=64)
"""Inversion of one cycle: short, since the generator is kept warm and the classifier moves on."""


class GarbageSettings(Settings):
    """What the garbage class is fed with, and how.

    The papers leave these open (arXiv 2505.23448, 2512.00229); shares are of the garbage images of one step.
    """

    slots: float = Field(default=0.5, gt=0, le=100)
    """Garbage images per ID image of a batch. Trials used 64 for 128; more costs steps and ID accuracy."""

    weight: Weight = 1.0
    """Weight of a garbage image in the weighted cross-entropy. 1 with half the slots keeps garbage below the ID classes
    together, so that ID accuracy does not pay."""

    noise: float = Field(default=1.0, ge=0, le=1)
    """Share of fresh noise (uniform, Gaussian, salt, bumps). Fresh, since a fixed set would be memorised."""

    derived: float = Field(default=0.0, ge=0, le=1)
    """Share of derived outliers, made from the ID images of the same batch."""

    inversions: float = Field(default=0.0, ge=0, le=1)
    """Share of inversions; noise stands in before the first cycle."""

    real: float = Field(default=0.0, ge=0, le=1)
    """Share of real outliers, which have to be given: outside data that the other shares do without."""

    noise_kinds: Annotated[tuple[str, ...], Known(NOISES)] = ()
    """Kinds of noise; empty: all. The papers' recipe has Gaussian noise alone."""

    sharpen: int = Field(default=0, ge=0, le=10_000)
    """Gradient steps that make a garbage image more of the class that the network sees in it, before it is shown: what
    an attacker with gradients would find next to it (0: none)."""

    sharpen_size: float = Field(default=0.03, gt=0, le=1)
    """Change of every pixel in such a step."""

    sharpen_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the garbage images of a step that are sharpened, evenly over their kinds. The others stay as they are: a
    network that sees sharpened ones alone knows garbage by the traces of the steps."""

    memory: int = Field(default=3_000, ge=1, le=10_000_000)
    """Inversions that are kept, the oldest leave first: without a cap they would starve fresh ones."""

    per_cycle: int = Field(default=1_000, ge=1, le=1_000_000)
    """Inversions that a cycle adds, the same number for each class."""

    every: float = Field(default=1, gt=0, le=1_000_000)
    """Epochs between two cycles, in whole steps; the papers invert after every epoch."""

    exclude: Literal["all", "uncertain"] = "all"
    """Which inversions go to garbage: all (arXiv 2505.23448), or those whose UE is above the 95 % quantile of held-out
    ID images (arXiv 2512.00229). All by default: while the generator makes counterfeits, the confident ones are the
    hole to close."""

    renew_every: int = Field(default=0, ge=0)
    """Cycles after which a new generator starts (0: one generator kept warm, which costs fewer steps)."""

    def problems(self) -> Iterator[str]:
        """Yield shares that do not sum to 1, and unknown noise."""
        total = self.noise + self.derived + self.inversions + self.real
        if abs(total - 1) > 1e-6:
            yield f"the shares noise, derived, inversions and real sum to {total:g}, expected 1"
        if unknown := set(self.noise_kinds) - set(NOISES):
            yield f"unknown noise {min(unknown)!r}; known: {', '.join(NOISES)}"


class Recipe(Settings):
    """How one network is trained: the classifier, the garbage, the inversion."""

    training: TrainingSettings = TrainingSettings()
    """How the classifier is trained."""
    garbage: GarbageSettings | None = None
    """Outliers: for the garbage class, or for a loss that asks for some."""
    loss: Loss | None = None
    """A loss of pytorch-ood on an n-class network, in place of a garbage class: a training-time baseline."""
    inversion: InversionSettings = CYCLE_INVERSION
    """Inversion of one cycle."""

    @property
    def has_garbage_class(self) -> bool:
        """Whether the network has a garbage class."""
        return self.garbage is not None and self.loss is None

    def problems(self) -> Iterator[str]:
        """Yield why loss, garbage and training do not go together."""
        yield from loss_problems(self.loss, self.garbage)
        yield from smoothing_problems(self.loss, self.training)


def loss_problems(loss: str | None, garbage: GarbageSettings | None) -> Iterator[str]:
    """Yield a loss without the outliers that it needs, with outliers that it ignores, or with a weight of them."""
    if loss is None:
        return
    if (loss in WITH_OUTLIERS) != (garbage is not None):
        asks = "needs outliers: say under garbage which" if loss in WITH_OUTLIERS else "takes no outliers"
        yield f"loss {loss!r} {asks}"
    if garbage and garbage.weight != 1:
        yield f"loss {loss!r} weighs outliers itself; leave garbage.weight at 1"


def smoothing_problems(loss: str | None, training: TrainingSettings) -> Iterator[str]:
    """Yield a loss with label smoothing, which none of pytorch-ood's knows."""
    if loss is not None and training.label_smoothing:
        yield f"loss {loss!r} knows no label smoothing; set training.label_smoothing to 0"


class FitSettings(Settings):
    """What ``invaudit ood fit`` does: a recipe, and where to start."""

    arch: str | None = "cnn"
    """Architecture of a new network, as in the MODEL grammar; of a run that started from a network, that of this one,
    unset where it has no name."""
    recipe: Recipe | None = Recipe(garbage=GarbageSettings())
    """How the network is trained; ``null``: not at all, it is taken as it is."""
    seed: int = 0
    """Seed of all draws."""
    device: Device = "auto"

    def code(self) -> list[str]:
        """An architecture that is no part of a library that we know is imported and run."""
        return [*super().code(), *foreign_arch(self.arch)]
