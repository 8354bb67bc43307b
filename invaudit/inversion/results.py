"""What an inversion gives: images on demand, the history of its training and how it ended."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from invaudit.inversion.conditions import MODES, Condition, sample_condition
from invaudit.inversion.outcome import Outcome
from invaudit.inversion.settings import InversionSettings
from invaudit.runtime.errors import SettingError

SAMPLED_AT_ONCE = 256
"""Most images in one pass of the generator or the target outside of training."""


@dataclass(frozen=True)
class Evaluation:
    """The measurements of one evaluation, after ``step`` steps.

    Attributes:
        step: Steps done.
        loss: Mean weighted loss of the steps since the last evaluation.
        objectives: Mean of each objective over the same steps, unweighted.
        accuracy: Inversion accuracy of each class on fresh draws, in eval mode.
        spread: Spread of each class on the same draws, see ``diagnostics.spread``.
    """

    step: int
    loss: float
    objectives: dict[str, float]
    accuracy: tuple[float, ...]
    spread: tuple[float, ...]


@dataclass(frozen=True)
class Inversion:
    """A trained generator, how its training went, and how it ended.

    Attributes:
        generator: In eval mode, on the device of the target.
        settings: How it was trained.
        classes: Number of classes.
        history: Evaluations, in order.
        outcome: ``converged`` (every class reaches the wanted accuracy), ``budget`` (it does not, after all steps),
            ``collapsed`` (the inversions of some class are copies of one image) or ``diverged`` (a loss not finite).
        message: The outcome in words.
    """

    generator: nn.Module
    settings: InversionSettings
    classes: int
    history: tuple[Evaluation, ...]
    outcome: Outcome
    message: str

    def sample(self, wanted: Tensor | Condition, rng: torch.Generator) -> Tensor:
        """Draw inversions, without dropout.

        Args:
            wanted: (N,) int64 labels in [0, classes), or conditions of the same mode (``condition_from``).
            rng: CPU generator of noise and conditions.

        Returns:
            (N, C, H, W) float32 in [0, 1], on the CPU.

        Raises:
            SettingError: The inversion diverged, a label is outside its range, or the conditions do not fit.
        """
        if self.outcome == "diverged":
            raise SettingError(f"there is nothing to draw from: {self.message}")
        return draw(self.generator, self.settings, self.classes, wanted, rng)


def draw_condition(settings: InversionSettings, classes: int, labels: Tensor, rng: torch.Generator) -> Condition:
    """Draw the conditions of labels as the settings say."""
    return sample_condition(
        settings.mode, labels, rng, classes=classes, hot=settings.hot, temperature=settings.temperature
    )


def draw(
    generator: nn.Module, settings: InversionSettings, classes: int, wanted: Tensor | Condition, rng: torch.Generator
) -> Tensor:
    """Draw inversions (N, C, H, W) in [0, 1] on the CPU, for labels or conditions, from a generator in eval mode."""
    condition = wanted if isinstance(wanted, Condition) else draw_condition(settings, classes, wanted, rng)
    mode = MODES[settings.mode]
    condition_parts = (condition.vector is not None, condition.matrix is not None)
    if condition_parts != (mode.vector, mode.matrix) or condition.wanted.shape[1] != classes:
        raise SettingError(
            f"conditions of another mode or number of classes; the generator takes {settings.mode!r}, {classes} classes"
        )
    noise = torch.randn((len(condition), settings.noise), generator=rng)
    device = next(generator.parameters()).device
    with torch.no_grad():
        batches = []
        for first in range(0, len(condition), SAMPLED_AT_ONCE):
            index = slice(first, first + SAMPLED_AT_ONCE)
            batches.append(generator(noise[index].to(device), condition.select(index).to(device)).cpu())
    # Generators may work with channels last in memory; users of images need not know.
    return torch.cat(batches).contiguous()
