"""Observing a target: what the objectives see of a batch of images, recorded only where one of them asks."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from invaudit.inversion.conditions import Condition
from invaudit.inversion.objectives import PERTURBED, Statistics, Step
from invaudit.models import Target, autocast


@contextmanager
def observed(
    target: Target,
    objectives: Collection[str],
    *,
    perturbation: float,
    precision: torch.dtype = torch.float32,
    centre: Tensor | None = None,
) -> Iterator[Callable[[Tensor, Condition], Step]]:
    """Give a function from images and their condition to the step that these objectives need.

    Args:
        target: In eval mode; a function call draws perturbations from torch's own generators.
        objectives: Names of the objectives that will be asked.
        perturbation: Radius of ``perturbed``.
        precision: Of the forward passes.
        centre: Mean of reference images, on the target's device.
    """
    statistics = recorded_statistics(target) if "batch-norm" in objectives else nullcontext(tuple)
    with target.layers.recorded(target.module) as seen, statistics as batch_norm:

        def logits_of(images: Tensor) -> Tensor:
            with autocast(target.device, precision):
                return target(images).float()

        def observe(images: Tensor, condition: Condition) -> Step:
            logits = logits_of(images)
            features, found, images = seen[target.layers.head].float(), batch_norm(), images.float()
            noisy, gradients = None, ()
            if any(name in objectives for name in PERTURBED):
                noisy = logits_of(perturbed(images, perturbation))
            if "gradient-norm-all" in objectives:
                gradients = weight_gradients(target, images, condition.labels)
            batch_norm()  # forgets the statistics of the further passes
            return Step(images, condition, logits, features, found, noisy, gradients, centre)

        yield observe


def unserved(target: Target, centre: Tensor | None = None) -> dict[str, str]:
    """Return the objectives that cannot be served, and why."""
    found = {} if _batch_norms(target) else {"batch-norm": "the target has no stored statistics"}
    return found if centre is not None else found | {"distance": "there are no reference images"}


@contextmanager
def recorded_statistics(target: Target) -> Iterator[Callable[[], tuple[Statistics, ...]]]:
    """Record what enters the batch-norm layers during the forward passes inside.

    Yields:
        A function that gives the statistics of the last forward pass and forgets them.
    """
    seen: list[Statistics] = []

    def note(part: Any, inputs: tuple[Tensor, ...]) -> None:
        # Around the stored mean, which is near: one pass without cancellation, and much faster than torch.var_mean.
        shape = (1, -1, *([1] * (inputs[0].ndim - 2)))
        values = inputs[0].float() - part.running_mean.view(shape)
        axes = [0, *range(2, values.ndim)]
        mean = values.mean(axes)
        variance = values.square().mean(axes) - mean.square()
        seen.append(Statistics(mean + part.running_mean, variance, part.running_mean, part.running_var))

    def take() -> tuple[Statistics, ...]:
        taken = tuple(seen)
        seen.clear()
        return taken

    handles = [part.register_forward_pre_hook(note) for part in _batch_norms(target)]
    try:
        yield take
    finally:
        for handle in handles:
            handle.remove()


def perturbed(images: Tensor, radius: float) -> Tensor:
    """Return images (N, C, H, W) moved by ``radius`` up or down in every value, at random, and kept in [0, 1].

    Draws from torch's own generators.

    Source: arXiv 2410.16884 bounds the perturbation in the largest change; its group draws the signs like this.
    """
    return (images + radius * torch.randn_like(images).sign()).clamp(0, 1)


def weight_gradients(target: Target, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return the gradient of the mean cross-entropy in every weight of a target, itself differentiable in the images.

    Args:
        target: May be frozen; is left as it is.
        images: (N, C, H, W) in [0, 1].
        labels: (N,).
    """
    weights = {name: value.detach().requires_grad_() for name, value in target.module.named_parameters()}
    logits = functional_call(target.module, weights, (target.normalise(images),))
    loss = functional.cross_entropy(logits, labels)
    return torch.autograd.grad(loss, tuple(weights.values()), create_graph=True, materialize_grads=True)


def _batch_norms(target: Target) -> list[nn.modules.batchnorm._BatchNorm]:
    kind = nn.modules.batchnorm._BatchNorm
    return [part for part in target.modules() if isinstance(part, kind) and part.running_mean is not None]
