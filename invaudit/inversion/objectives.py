"""Objectives: pure functions of one inversion step, each one term of the loss."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.inversion.conditions import Condition
from invaudit.runtime.errors import SettingError


@dataclass(frozen=True)
class Statistics:
    """Statistics of one batch-norm layer: mean and biased variance of its inputs, and the stored ones; each (C,)."""

    mean: Tensor
    variance: Tensor
    stored_mean: Tensor
    stored_variance: Tensor


@dataclass(frozen=True)
class Step:
    """What objectives read of one batch of N images.

    Attributes:
        images: (N, C, H, W) in [0, 1].
        condition: The outputs wanted, over n classes.
        logits: (N, n), or (N, n + 1) with a garbage class, of which no share is wanted.
        features: (N, D), the input of the target's head.
        batch_norm: One entry for each batch-norm layer of the target; recorded where an objective asks for it.
        perturbed_logits: Logits of the images after ``perturbed``; where an objective asks for them.
        weight_gradients: Result of ``observing.weight_gradients``; where an objective asks for it.
        centre: (C, H, W), the mean of reference images, where there are any.
    """

    images: Tensor
    condition: Condition
    logits: Tensor
    features: Tensor
    batch_norm: tuple[Statistics, ...] = ()
    perturbed_logits: Tensor | None = None
    weight_gradients: tuple[Tensor, ...] = ()
    centre: Tensor | None = None


def kl(step: Step) -> Tensor:
    """Return the mean of KL(c || p), c the wanted distribution and p the target's.

    Beside cross-entropy e, the minimiser of a KL + b CE is p = (a c + b e) / (a + b).

    References:
        arXiv 2407.18002. One log-softmax of the logits: with a softmax before it, the least value for 10 classes is
        1.46.
    """
    wanted = _wanted(step)
    return (torch.xlogy(wanted, wanted) - wanted * step.logits.log_softmax(1)).sum(1).mean()


def cross_entropy(step: Step) -> Tensor:
    """Return the mean of -log p of the label.

    References:
        arXiv 2407.18002.
    """
    return functional.cross_entropy(step.logits, step.condition.labels)


def kl_perturbed(step: Step) -> Tensor:
    """Return ``kl`` of the perturbed images.

    References:
        arXiv 2410.16884: the answer to a training image holds under perturbation.
    """
    return kl(_perturbed(step))


def cross_entropy_perturbed(step: Step) -> Tensor:
    """Return ``cross_entropy`` of the perturbed images.

    References:
        arXiv 2410.16884.
    """
    return cross_entropy(_perturbed(step))


def gradient_norm(step: Step) -> Tensor:
    """Return the mean over images of the norm of the loss gradient in the weights of the head: ||p - e|| ||features||.

    p is the target's distribution, e the one-hot label and the loss its cross-entropy, so the outer product of p - e
    and the features is the gradient; its norm needs no second derivative.

    References:
        arXiv 2410.16884, which takes all weights (``gradient-norm-all``). By image, since gradients of different images
        may cancel in a mean.
    """
    errors = step.logits.softmax(1) - functional.one_hot(step.condition.labels, step.logits.shape[1])
    return (torch.linalg.vector_norm(errors, dim=1) * torch.linalg.vector_norm(step.features, dim=1)).mean()


def gradient_norm_all(step: Step) -> Tensor:
    """Return the norm of the gradient of the batch's mean cross-entropy in all weights of the target.

    References:
        arXiv 2410.16884, as in the code of its group.
    """
    squares = torch.stack([gradient.square().sum() for gradient in step.weight_gradients])
    # The root has no slope at 0, where every image is sure.
    return (squares.sum() + 1e-20).sqrt()


def cosine(step: Step) -> Tensor:
    """Return the mean of max(0, cosine) of features over pairs of one label; 0 without such pairs.

    References:
        arXiv 2407.18002 takes the plain cosine over all pairs (``cosine-all``). Different labels are kept apart by the
        class terms already, and a negative cosine earns nothing here, or features would be driven to opposites.
    """
    return _mean_over(_cosines(step.features).relu(), _same_label(step))


def cosine_all(step: Step) -> Tensor:
    """Return the mean cosine of features over all pairs: sum over i != j of cos(i, j) / (N (N - 1)).

    References:
        arXiv 2407.18002.
    """
    return _mean_over(_cosines(step.features), _pairs(step))


def orthogonality(step: Step) -> Tensor:
    """Return the mean squared entry of G - I off the diagonal, G the Gram matrix of normalised features.

    0 for orthogonal features, 1 for equal ones; at least (N / D - 1) / (N - 1) for N > D.

    References:
        arXiv 2411.17777. Rows are normalised, or the term would drive norms to 1 against the class terms.
    """
    return _mean_over(_cosines(step.features).square(), _pairs(step))


def image_distance(step: Step) -> Tensor:
    """Return minus the mean absolute difference of pixels over pairs of one label; 0 without such pairs."""
    pixels = step.images.flatten(1)
    return -_mean_over(torch.cdist(pixels, pixels, p=1) / pixels.shape[1], _same_label(step))


def image_cosine(step: Step) -> Tensor:
    """Return the mean squared cosine of the images themselves over pairs of one label; 0 without such pairs."""
    return _mean_over(_cosines(step.images.flatten(1)).square(), _same_label(step))


def batch_norm(step: Step) -> Tensor:
    """Return the mean over layers of the relative gaps to the stored batch-norm statistics.

    ||mean - stored|| / ||stored std|| + ||variance - stored|| / ||stored variance||, L2 norms over channels; 0 where
    they match.

    References:
        DeepInversion, arXiv 1912.08795, which sums the gaps without dividing; so divided, one weight serves networks of
        any width and depth.
    """
    gaps = []
    for layer in step.batch_norm:
        stored_std = layer.stored_variance.sum().clamp_min(1e-12).sqrt()
        mean_gap = torch.linalg.vector_norm(layer.mean - layer.stored_mean) / stored_std
        stored_variance = torch.linalg.vector_norm(layer.stored_variance).clamp_min(1e-12)
        variance_gap = torch.linalg.vector_norm(layer.variance - layer.stored_variance) / stored_variance
        gaps.append(mean_gap + variance_gap)
    return torch.stack(gaps).mean()


def batch_norm_scaled(step: Step) -> Tensor:
    """Return the mean over layers and channels of (mean - stored)^2 / stored variance + log(variance / stored)^2.

    0 where the statistics match; every channel counts alike, quiet ones too.
    """
    gaps = []
    for layer in step.batch_norm:
        stored = layer.stored_variance.clamp_min(1e-6)
        mean_gaps = (layer.mean - layer.stored_mean).square() / stored
        spread_gaps = (layer.variance.clamp_min(1e-6) / stored).log().square()
        gaps.append((mean_gaps + spread_gaps).mean())
    return torch.stack(gaps).mean()


def total_variation(step: Step) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, down plus across."""
    down, across = step.images.diff(dim=2).abs().mean(), step.images.diff(dim=3).abs().mean()
    return down + across


def distance(step: Step) -> Tensor:
    """Return the mean squared distance of pixels to the centre.

    References:
        The L2 term of DeepInversion, arXiv 1912.08795: the norm of normalised images, that is around the mean of the
        data. There it is the norm of the whole batch; a mean over pixels serves any size.
    """
    if step.centre is None:
        raise SettingError("the step holds no centre, which distance needs; give reference images")
    return (step.images - step.centre).square().mean()


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
    "image-distance": image_distance,
    "batch-norm": batch_norm,
    "batch-norm-scaled": batch_norm_scaled,
    "total-variation": total_variation,
    "distance": distance,
    "pixel-range": pixel_range,
}
"""Name -> objective; lower is better."""

FROM_BATCH_NORM = ("batch-norm", "batch-norm-scaled")
"""Objectives that ask for ``Step.batch_norm``."""

PERTURBED = ("kl-perturbed", "cross-entropy-perturbed")
"""Objectives that ask for ``Step.perturbed_logits``."""


def _perturbed(step: Step) -> Step:
    if step.perturbed_logits is None:
        raise SettingError(f"the step holds no logits of perturbed images, which {' and '.join(PERTURBED)} need")
    return replace(step, logits=step.perturbed_logits)


def _wanted(step: Step) -> Tensor:
    wanted = step.condition.wanted
    return functional.pad(wanted, (0, step.logits.shape[1] - wanted.shape[1]))


def _cosines(rows: Tensor) -> Tensor:
    directions = functional.normalize(rows, dim=1)
    return directions @ directions.T


def _pairs(step: Step) -> Tensor:
    return ~torch.eye(len(step.images), dtype=torch.bool, device=step.images.device)


def _same_label(step: Step) -> Tensor:
    labels = step.condition.labels
    return (labels[:, None] == labels) & _pairs(step)


def _mean_over(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)
