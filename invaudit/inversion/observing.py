"""Observing a target: what the objectives see of a batch of images, recorded only where one of them asks for it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from invaudit.inversion.conditions import Condition
from invaudit.inversion.objectives import FROM_BATCH_NORM, OBJECTIVES, PERTURBED, Statistics, Step
from invaudit.models import Target
from invaudit.models.devices import autocast


@contextmanager
def observed(
    target: Target,
    objectives: Collection[str],
    *,
    perturbation: float,
    precision: torch.dtype = torch.float32,
    centre: Tensor | None = None,
) -> Iterator[Callable[[Tensor, Condition], Step]]:
    """Yield a function that passes images through the target and returns the step that these objectives need.

    Args:
        target: In eval mode; a function call draws perturbations from torch's own generators.
        objectives: Names of the objectives that will be asked.
        perturbation: Radius of ``perturbed``.
        precision: Number format of the forward passes.
        centre: Mean of reference images, on the target's device.
    """
    asks_for_statistics = any(name in objectives for name in FROM_BATCH_NORM)
    statistics = recorded_statistics(target) if asks_for_statistics else nullcontext(tuple)
    with target.layers.recorded(target.module) as recorded, statistics as batch_norm:

        def logits_of(images: Tensor) -> Tensor:
            with autocast(target.device, precision):
                return target(images).float()

        def observe(images: Tensor, condition: Condition) -> Step:
            logits = logits_of(images)
            features, layer_statistics, images = recorded[target.layers.head].float(), batch_norm(), images.float()
            perturbed_logits, gradients = None, ()
            if any(name in objectives for name in PERTURBED):
                perturbed_logits = logits_of(perturbed(images, perturbation))
            if "gradient-norm-all" in objectives:
                gradients = weight_gradients(target, images, condition.labels)
            batch_norm()  # forgets the statistics of the further passes
            return Step(images, condition, logits, features, layer_statistics, perturbed_logits, gradients, centre)

        yield observe


@dataclass(frozen=True)
class ServedObjectives:
    """The objectives of a search that its target can serve.

    Attributes:
        weights: Name -> weight of each, none of them 0.
        skipped: Name of each objective that was asked for and cannot be served -> the reason.
    """

    weights: dict[str, float]
    skipped: dict[str, str]

    @property
    def skipped_note(self) -> str:
        """Say what is skipped and why, as the rest of a sentence; empty where nothing is."""
        note = ""
        for name, reason in self.skipped.items():
            note += f"; objective {name} skipped, {reason}"
        return note

    def scale(self, device: torch.device) -> Tensor:
        """Return the weights as a vector, in the order of ``terms``."""
        return torch.tensor(list(self.weights.values()), device=device)

    def terms(self, step: Step) -> Tensor:
        """Return the value of each objective, unweighted."""
        return torch.stack([OBJECTIVES[name](step) for name in self.weights])


def serve(weights: dict[str, float], target: Target, centre: Tensor | None = None) -> ServedObjectives:
    """Return the objectives with a weight that this target can serve, and why the others are skipped.

    Args:
        weights: Name -> weight; 0 switches an objective off.
        target: What is searched against.
        centre: Mean of reference images, where there are any.
    """
    reasons = unserved(target, centre)
    served: dict[str, float] = {}
    for name, weight in weights.items():
        if weight and name not in reasons:
            served[name] = weight
    skipped: dict[str, str] = {}
    for name, reason in reasons.items():
        if weights.get(name):
            skipped[name] = reason
    return ServedObjectives(served, skipped)


def unserved(target: Target, centre: Tensor | None = None) -> dict[str, str]:
    """Return the objectives that cannot be served, each with the reason."""
    reasons = {}
    if not _batch_norms(target):
        for name in FROM_BATCH_NORM:
            reasons[name] = "the target has no stored statistics"
    if centre is None:
        reasons["distance"] = "there are no reference images"
    return reasons


@contextmanager
def recorded_statistics(target: Target) -> Iterator[Callable[[], tuple[Statistics, ...]]]:
    """Record what enters the batch-norm layers during the forward passes inside.

    Yields:
        A function that returns the statistics of the last forward pass and forgets them.
    """
    recorded: list[Statistics] = []

    def record(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        # Around the stored mean, which is near: one pass without cancellation, and much faster than torch.var_mean.
        shape = (1, -1, *([1] * (inputs[0].ndim - 2)))
        values = inputs[0].float() - layer.running_mean.view(shape)
        axes = [0, *range(2, values.ndim)]
        mean = values.mean(axes)
        variance = values.square().mean(axes) - mean.square()
        recorded.append(Statistics(mean + layer.running_mean, variance, layer.running_mean, layer.running_var))

    def take() -> tuple[Statistics, ...]:
        statistics = tuple(recorded)
        recorded.clear()
        return statistics

    handles = [layer.register_forward_pre_hook(record) for layer in _batch_norms(target)]
    try:
        yield take
    finally:
        for handle in handles:
            handle.remove()


def perturbed(images: Tensor, radius: float) -> Tensor:
    """Return images (N, C, H, W) moved by ``radius`` up or down in every value, at random, and kept in [0, 1].

    Draws from torch's own generators.

    References:
        arXiv 2410.16884 bounds the perturbation in the largest change; its group draws the signs like this.
    """
    return (images + radius * torch.randn_like(images).sign()).clamp(0, 1)


def weight_gradients(target: Target, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return the gradient of the mean cross-entropy in every weight of a target, itself differentiable in the images.

    Args:
        target: May be frozen; is left as it is.
        images: (N, C, H, W) in [0, 1].
        labels: (N,).
    """
    weights: dict[str, Tensor] = {}
    for name, value in target.module.named_parameters():
        weights[f"module.{name}"] = value.detach().requires_grad_()
    logits = functional_call(target, weights, (images,))
    loss = functional.cross_entropy(logits, labels)
    return torch.autograd.grad(loss, tuple(weights.values()), create_graph=True, materialize_grads=True)


def share_without_slope(target: Target, images: Tensor, labels: Tensor) -> float:
    """Return the share of images (N, C, H, W) for which the cross-entropy has no slope at all in their pixels.

    Such an image cannot be moved: every path to it leads through a ReLU that is off, or all its logits are saturated.

    Args:
        target: Frozen, in eval mode.
        images: In [0, 1].
        labels: (N,) int64.
    """
    images = images.to(target.device).detach().requires_grad_()
    loss = functional.cross_entropy(target(images), labels.to(target.device), reduction="sum")
    (slopes,) = torch.autograd.grad(loss, images)
    return float((slopes.flatten(1).abs().amax(1) == 0).double().mean())


def _batch_norms(target: Target) -> list[nn.modules.batchnorm._BatchNorm]:
    layers = []
    for part in target.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            layers.append(part)
    return layers
