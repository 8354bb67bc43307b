"""The plane through three images, and which class a network gives each of its points."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invaudit.explain.borders import lengths, probabilities
from invaudit.models import Target
from invaudit.runtime.errors import SettingError, ShapeError

AROUND = 0.25
"""How far a plane is shown beyond its three images, as a share of the way between them."""
SMALLEST_ANGLE = 1e-4
"""Images count as lying on one line where the border is off it by less than this share of its length."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The class map of a plane.

    Attributes:
        across: (G,) float64, the first coordinate of the points: distance from the start towards the goal.
        up: (G,) float64, the second one: distance from the line of start and goal, towards the border image.
        probabilities: (G, G, K) float64; element [i, j] belongs to ``up[i]`` and ``across[j]``.
        points: (3, 2) float64, the coordinates (across, up) of start, border image and goal.
        clipped: Share of the points that the network was shown with pixels clipped to [0, 1]: these lie a little
            beside the plane.
    """

    across: np.ndarray
    up: np.ndarray
    probabilities: np.ndarray
    points: np.ndarray
    clipped: float

    @property
    def classes(self) -> np.ndarray:
        """(G, G) int64, the most likely class of each point."""
        return self.probabilities.argmax(2)

    @property
    def sureness(self) -> np.ndarray:
        """(G, G) float64, the probability of that class."""
        return self.probabilities.max(2)


def plane_through(target: Target, start: Tensor, border: Tensor, goal: Tensor, *, grid: int = 41) -> Plane:
    """Ask a network about the points of the plane through three images.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        start: (C, H, W) in [0, 1].
        border: (C, H, W) in [0, 1].
        goal: (C, H, W) in [0, 1].
        grid: Number of points G along each side, at least 2. Each side of the map ends as far beyond the three images
            as a quarter of their extent in its own direction, so the two sides are of different length as a rule.

    Raises:
        ShapeError: An image of another shape than the target takes.
        SettingError: The images lie on one line, or the grid is too small.
    """
    if grid < 2:
        raise SettingError(f"grid is {grid}, expected at least 2 points along each side")
    for name, image in (("start", start), ("border", border), ("goal", goal)):
        if tuple(image.shape) != target.spec.shape:
            raise ShapeError(f"{name} has shape {tuple(image.shape)}, the target takes {target.spec.shape}")
    origin, towards = start.double().cpu(), _axes(*(image.double().cpu() for image in (start, border, goal)))
    images = torch.stack([start, border, goal]).double().cpu()
    points = (images - origin).flatten(1) @ towards.T
    across, up = (_around(points[:, side], grid) for side in (0, 1))
    told, n_clipped = [], 0
    for height in up:
        where = torch.stack([across, height.expand(grid)], 1)
        row = origin + (where @ towards).view(grid, *target.spec.shape)
        shown = row.clamp(0, 1)
        # Rounding alone clips nothing.
        n_clipped += int((lengths(shown - row) > 1e-6).sum())
        told.append(probabilities(target, shown.float()))
    return Plane(across.numpy(), up.numpy(), np.stack(told), points.numpy(), n_clipped / grid**2)


def _axes(start: Tensor, border: Tensor, goal: Tensor) -> Tensor:
    """Return two directions of length 1 at right angles, (2, D)."""
    across, up = (goal - start).flatten(), (border - start).flatten()
    size = up.norm()
    if across.norm() > 0:
        across = across / across.norm()
        up = up - (up @ across) * across
    if across.norm() == 0 or up.norm() <= SMALLEST_ANGLE * size:
        raise SettingError("start, border and goal lie on one line, so they span no plane; take another goal")
    return torch.stack([across, up / up.norm()])


def _around(values: Tensor, grid: int) -> Tensor:
    """Return coordinates (G,) from before the least to beyond the largest of the values."""
    least, largest = values.min(), values.max()
    beyond = AROUND * (largest - least)
    return torch.linspace(float(least - beyond), float(largest + beyond), grid, dtype=torch.float64)
