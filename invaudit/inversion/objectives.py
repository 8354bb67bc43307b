"""Objectives: pure functions of one inversion step, each one term of the loss."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from invaudit.inversion.conditions import Condition
from invaudit.models import Target
from invaudit.runtime.errors import SettingError


@dataclass(frozen=True)
class Statistics:
    """Batch norm of one layer: mean and biased variance of what enters it, and the stored ones; each (C,)."""

    mean: Tensor
    variance: Tensor
    stored_mean: Tensor
    stored_variance: Tensor


@dataclass(frozen=True)
class Step:
    """What objectives see of one batch of N inversions.

    Attributes:
        images: (N, C, H, W) in [0, 1].
        condition: The outputs wanted, over n classes.
        logits: (N, n), or (N, n + 1) with a garbage class, of which no share is wanted.
        features: (N, D), the input of the target's head.
        batch_norm: One entry for each batch-norm layer of the target; recorded where an objective asks.
        perturbed_logits: As ``logits``, of the images after ``perturbed``; where an objective asks.
        weight_gradients: What ``weight_gradients`` gives; where an objective asks.
    """

    images: Tensor
    condition: Condition
    logits: Tensor
    features: Tensor
    batch_norm: tuple[Statistics, ...] = ()
    perturbed_logits: Tensor | None = None
    weight_gradients: tuple[Tensor, ...] = ()


def kl(step: Step) -> Tensor:
    """Return the mean of KL(c || p), c the wanted distribution and p the target's.

    Beside cross-entropy e, the minimiser of a KL + b CE is p = (a c + b e) / (a + b).

    Source: arXiv 2407.18002. One log-softmax of the logits: with a softmax before it, the least value for 10 classes is
    1.46.
    """
    wanted = _wanted(step)
    return (torch.xlogy(wanted, wanted) - wanted * step.logits.log_softmax(1)).sum(1).mean()


def cross_entropy(step: Step) -> Tensor:
    """Return the mean of -log p of the label.

    Source: arXiv 2407.18002.
    """
    return functional.cross_entropy(step.logits, step.condition.labels)


def kl_perturbed(step: Step) -> Tensor:
    """Return ``kl`` of the perturbed images.

    Source: arXiv 2410.16884: the answer to a training image holds under perturbation.
    """
    return kl(_perturbed(step))


def cross_entropy_perturbed(step: Step) -> Tensor:
    """Return ``cross_entropy`` of the perturbed images.

    Source: arXiv 2410.16884.
    """
    return cross_entropy(_perturbed(step))


def gradient_norm(step: Step) -> Tensor:
    """Return the mean over images of the norm of the loss gradient in the weights of the head: ||p - e|| ||features||.

    p is the target's distribution, e the one-hot label and the loss its cross-entropy, so the outer product of p - e
    and the features is the gradient; its norm needs no second derivative.

    Source: arXiv 2410.16884, which takes all weights (``gradient-norm-all``). By image, since gradients of different
    images may cancel in a mean.
    """
    wrong = step.logits.softmax(1) - functional.one_hot(step.condition.labels, step.logits.shape[1])
    return (torch.linalg.vector_norm(wrong, dim=1) * torch.linalg.vector_norm(step.features, dim=1)).mean()


def gradient_norm_all(step: Step) -> Tensor:
    """Return the norm of the gradient of the batch's mean cross-entropy in all weights of the target.

    Source: arXiv 2410.16884, as in the code of its group.
    """
    squares = torch.stack([gradient.square().sum() for gradient in step.weight_gradients])
    # The root has no slope at 0, where every image is sure.
    return (squares.sum() + 1e-20).sqrt()


def cosine(step: Step) -> Tensor:
    """Return the mean of max(0, cosine) of features over pairs of one label; 0 without such pairs.

    Source: arXiv 2407.18002 takes the plain cosine over all pairs (``cosine-all``). Different labels are kept apart by
    the class terms already, and a negative cosine earns nothing here, or features would be driven to opposites.
    """
    return _mean_over(_cosines(step.features).relu(), _same_label(step))


def cosine_all(step: Step) -> Tensor:
    """Return the mean cosine of features over all pairs: sum over i != j of cos(i, j) / (N (N - 1)).

    Source: arXiv 2407.18002.
    """
    return _mean_over(_cosines(step.features), _pairs(step))


def orthogonality(step: Step) -> Tensor:
    """Return the mean squared entry of G - I off the diagonal, G the Gram matrix of normalised features.

    0 for orthogonal features, 1 for equal ones; at least (N / D - 1) / (N - 1) for N > D.

    Source: arXiv 2411.17777. Rows are normalised, or the term would drive norms to 1 against the class terms.
    """
    return _mean_over(_cosines(step.features).square(), _pairs(step))


def image_cosine(step: Step) -> Tensor:
    """Return the mean squared cosine of the images themselves over pairs of one label; 0 without such pairs."""
    return _mean_over(_cosines(step.images.flatten(1)).square(), _same_label(step))


def batch_norm(step: Step) -> Tensor:
    """Return the mean over layers of the relative gaps to the stored batch-norm statistics.

    ||mean - stored|| / ||stored std|| + ||variance - stored|| / ||stored variance||, L2 norms over channels; 0 where
    they match.

    Source: DeepInversion, arXiv 1912.08795, which sums the gaps without dividing; so divided, one weight serves
    networks of any width and depth.
    """
    gaps = []
    for one in step.batch_norm:
        scale = one.stored_variance.sum().clamp_min(1e-12).sqrt()
        mean = torch.linalg.vector_norm(one.mean - one.stored_mean) / scale
        size = torch.linalg.vector_norm(one.stored_variance).clamp_min(1e-12)
        gaps.append(mean + torch.linalg.vector_norm(one.variance - one.stored_variance) / size)
    return torch.stack(gaps).mean()


def total_variation(step: Step) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, down plus across."""
    down, across = step.images.diff(dim=2).abs().mean(), step.images.diff(dim=3).abs().mean()
    return down + across


def energy(step: Step) -> Tensor:
    """Return the mean squared pixel.

    Source: DeepInversion, arXiv 1912.08795, which takes the norm of the whole batch; a mean serves any size.
    """
    return step.images.square().mean()


def pixel_range(step: Step) -> Tensor:
    """Return the mean distance of pixels to [0, 1]; 0 for a generator that cannot leave it, as ours."""
    return (functional.relu(-step.images) + functional.relu(step.images - 1)).mean()


OBJECTIVES: dict[str, Callable[[Step], Tensor]] = {
    "kl": kl,
    "cross-entropy": cross_entropy,
    "kl-perturbed": kl_perturbed,
    "cross-entropy-perturbed": cross_entropy_perturbed,
    "gradient-norm": gradient_norm,
    "gradient-norm-all": gradient_norm_all,
    "cosine": cosine,
    "cosine-all": cosine_all,
    "orthogonality": orthogonality,
    "image-cosine": image_cosine,
    "batch-norm": batch_norm,
    "total-variation": total_variation,
    "energy": energy,
    "pixel-range": pixel_range,
}
"""Name -> objective; the lower the better."""

PERTURBED = ("kl-perturbed", "cross-entropy-perturbed")
"""Objectives that ask for ``Step.perturbed_logits``."""


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


def unserved(target: Target) -> tuple[str, ...]:
    """Return the objectives that a target cannot serve: ``batch-norm`` where it has no stored statistics."""
    return () if _batch_norms(target) else ("batch-norm",)


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


def _batch_norms(target: Target) -> list[nn.modules.batchnorm._BatchNorm]:
    kind = nn.modules.batchnorm._BatchNorm
    return [part for part in target.modules() if isinstance(part, kind) and part.running_mean is not None]


def _perturbed(step: Step) -> Step:
    if step.perturbed_logits is None:
        raise SettingError(f"the step holds no logits of perturbed images, which {' and '.join(PERTURBED)} need")
    return replace(step, logits=step.perturbed_logits)


def _wanted(step: Step) -> Tensor:
    wanted = step.condition.wanted
    return functional.pad(wanted, (0, step.logits.shape[1] - wanted.shape[1]))


def _cosines(rows: Tensor) -> Tensor:
    normal = functional.normalize(rows, dim=1)
    return normal @ normal.T


def _pairs(step: Step) -> Tensor:
    return ~torch.eye(len(step.images), dtype=torch.bool, device=step.images.device)


def _same_label(step: Step) -> Tensor:
    labels = step.condition.labels
    return (labels[:, None] == labels) & _pairs(step)


def _mean_over(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)
