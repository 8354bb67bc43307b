"""Moving pixels: the images themselves are searched, step by step down a loss, and stay in [0, 1].

``optimise_pixels`` is the loop of every such search; its step rule is an optimiser, Adam or ``SignDescent``.
``run_search`` takes a long search from record to record and from checkpoint to checkpoint.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from invaudit.models.checkpoints import Checkpoint
from invaudit.runtime.console import progress


def optimise_pixels(
    images: Tensor,
    loss: Callable[[int], Tensor],
    optimizer: torch.optim.Optimizer,
    steps: Iterable[int],
    *,
    before_step: Callable[[int], None] | None = None,
) -> None:
    """Move images down a loss, in place; after every step their pixels are put back into [0, 1].

    Args:
        images: (N, C, H, W), a leaf tensor that asks for gradients.
        loss: ``loss(step) -> scalar Tensor``, of the images as they are now.
        optimizer: The step rule. Its parameters are the images, and whatever else is searched for along with them.
        steps: Numbers of the steps, which ``loss`` and ``before_step`` are given.
        before_step: Called before each step, e.g. to set the learning rates of a schedule.
    """
    parameters: list[Tensor] = []
    for group in optimizer.param_groups:
        parameters += group["params"]
    for step in steps:
        if before_step is not None:
            before_step(step)
        slopes = torch.autograd.grad(loss(step), parameters)
        for parameter, slope in zip(parameters, slopes, strict=True):
            # Fused Adam reads memory in order, so a gradient must be laid out as what it is the gradient of.
            parameter.grad = slope.contiguous()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)


class SignDescent(torch.optim.Optimizer):
    """Steps of one size down the sign of the gradient: with ``optimise_pixels``, projected gradient descent (PGD).

    Args:
        images: What is moved.
        size: Change of every pixel in a step, in units of [0, 1].

    References:
        Madry et al., arXiv 1706.06083.
    """

    def __init__(self, images: Tensor, size: float) -> None:
        super().__init__([images], {"size": size})

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every pixel by the size; those without a slope stay."""
        for group in self.param_groups:
            for images in group["params"]:
                images.sub_(group["size"] * images.grad.sign())


class PixelSearch(Protocol):
    """A long search in parts, each of which ends with a record of the loss."""

    @property
    def records_left(self) -> int:
        """Number of records still to be made; 0 once there is nothing more to search."""
        ...

    def advance(self) -> None:
        """Take the steps to the next record."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the search depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        ...


def run_search(search: PixelSearch, checkpoint: Checkpoint | None, *, label: str) -> None:
    """Take a search to its end, from where its checkpoint left it.

    Args:
        search: Is changed in place.
        checkpoint: Written after every record; None goes without.
        label: What progress is called on the screen.

    Raises:
        RunFolderError: The checkpoint belongs to another search.
    """
    saved = checkpoint.load() if checkpoint is not None else None
    if saved is not None:
        search.load_state_dict(saved)
    total = search.records_left
    for _ in progress(range(total), total=total, label=label):
        if not search.records_left:
            return
        search.advance()
        if checkpoint is not None:
            checkpoint.save(search.state_dict())
