"""Conditions: what tells a generator which output is wanted."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.runtime.errors import SettingError, ShapeError


@dataclass(frozen=True)
class Mode:
    """What a generator sees of a condition: a vector (soft, or one-hot for the label alone), a matrix, or both."""

    vector: bool
    soft: bool
    matrix: bool


MODES = {
    "label": Mode(vector=True, soft=False, matrix=False),
    "vector": Mode(vector=True, soft=True, matrix=False),
    "matrix": Mode(vector=False, soft=False, matrix=True),
    "vector-matrix": Mode(vector=True, soft=True, matrix=True),
}
"""The four condition modes (arXiv 2411.17777 and 2410.16884, section 3.2)."""


@dataclass(frozen=True)
class Condition:
    """N wanted outputs and what the generator sees of them.

    Attributes:
        labels: (N,) int64, the wanted class: where ``wanted`` is largest.
        wanted: (N, n) float32, a distribution over the classes.
        vector: (N, n) float32, or None where the mode has none.
        matrix: (N, 1, n, n) float32 of 0 and 1, or None where the mode has none.
    """

    labels: Tensor
    wanted: Tensor
    vector: Tensor | None
    matrix: Tensor | None

    def __len__(self) -> int:
        """Return the number of wanted outputs."""
        return len(self.labels)

    def to(self, device: torch.device) -> "Condition":
        """Return the conditions on a device, without waiting for it."""
        return self._each(lambda value: move(value, device))

    def select(self, index: slice) -> "Condition":
        """Return some of the conditions."""
        return self._each(lambda value: value[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Condition":
        vector = None if self.vector is None else change(self.vector)
        matrix = None if self.matrix is None else change(self.matrix)
        return Condition(change(self.labels), change(self.wanted), vector, matrix)


def sample_condition(
    mode: str, labels: Tensor, rng: torch.Generator, *, classes: int, hot: bool = False, temperature: float = 1.0
) -> Condition:
    """Draw a condition for each wanted class.

    In the soft modes c = softmax(v / T), v ~ N(0, I), given that its largest entry sits at the label. Instead of
    waiting for such a v, the largest entry is swapped there: the entries are exchangeable, so the law is the same.

    Args:
        mode: A key of ``MODES``.
        labels: (N,) int64 on the CPU, in [0, classes).
        rng: CPU generator of the draws.
        classes: Number of classes n.
        hot: One-hot distributions in the soft modes too (arXiv 2503.20187).
        temperature: T > 0; low makes the distributions surer.

    Raises:
        SettingError: Unknown mode, a label outside its range, or T <= 0.

    References:
        arXiv 2407.18002 (vector), arXiv 2411.17777 (matrix). Where a mode is not soft, the output wanted is one-hot: a
        generator that is shown the label alone cannot know more.
    """
    known_mode = _mode(mode)
    if temperature <= 0:
        raise SettingError(f"temperature is {temperature:g}, expected more than 0")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise SettingError(f"labels from {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1}")
    if hot or not known_mode.soft:
        return _condition(functional.one_hot(labels, classes).float(), labels, known_mode)
    values = torch.randn((len(labels), classes), generator=rng)
    rows, largest = torch.arange(len(labels)), values.argmax(1)
    at_label, at_largest = values[rows, labels], values[rows, largest]
    values[rows, largest] = at_label
    values[rows, labels] = at_largest
    return _condition((values / temperature).softmax(1), labels, known_mode)


def condition_from(wanted: Tensor, mode: str = "vector-matrix") -> Condition:
    """Return the condition for any wanted distributions, e.g. half and half between two classes.

    Args:
        wanted: (N, n) float, rows >= 0 that sum to 1.
        mode: A key of ``MODES``; a mode without a soft vector takes only one-hot rows.

    Raises:
        ShapeError: ``wanted`` is not a matrix.
        SettingError: A row is not a distribution, or the mode cannot show it.
    """
    known_mode = _mode(mode)
    if wanted.ndim != 2:
        raise ShapeError(f"wanted has shape {tuple(wanted.shape)}, expected (N, classes)")
    wanted = wanted.float()
    if bool((wanted < 0).any()) or not torch.allclose(wanted.sum(1), torch.ones(len(wanted)), atol=1e-4):
        raise SettingError("wanted holds a row that is not a distribution: entries >= 0 that sum to 1")
    labels = wanted.argmax(1)
    if not known_mode.soft and not torch.equal(wanted, functional.one_hot(labels, wanted.shape[1]).float()):
        raise SettingError(f"mode {mode!r} shows the generator a class alone; use vector or vector-matrix")
    return _condition(wanted, labels, known_mode)


def crosses(wanted: Tensor) -> Tensor:
    """Return the matrices (N, 1, n, n): row and column of the largest entry are 1 (of each that ties)."""
    top = wanted >= wanted.amax(1, keepdim=True) - 1e-6
    return (top[:, None, :, None] | top[:, None, None, :]).float()


def matrix_channels(classes: int, size: tuple[int, int]) -> int:
    """Return the number of channels as which matrices of n classes join a map of this size: 1 where they fit."""
    return max(-(-classes // size[0]), -(-classes // size[1])) ** 2


def fit_matrix(matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Return matrices (N, 1, n, n) at the size of a map, (N, ``matrix_channels``, *size).

    Enlarged by nearest where the map is larger. Where it is smaller, neighbouring cells are folded into channels:
    nearest would drop whole rows there, and with them the cross of a class.
    """
    classes = matrix.shape[2]
    if classes <= min(size):
        return functional.interpolate(matrix, size, mode="nearest")
    block = math.isqrt(matrix_channels(classes, size))
    padded = functional.pad(matrix, (0, size[1] * block - classes, 0, size[0] * block - classes))
    return functional.pixel_unshuffle(padded, block)


def _condition(wanted: Tensor, labels: Tensor, mode: Mode) -> Condition:
    return Condition(labels, wanted, wanted if mode.vector else None, crosses(wanted) if mode.matrix else None)


def _mode(name: str) -> Mode:
    if name not in MODES:
        raise SettingError(f"unknown condition mode {name!r}; known: {', '.join(MODES)}")
    return MODES[name]


def move(value: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on a device; from pinned memory, so that the host does not wait for the device."""
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)
