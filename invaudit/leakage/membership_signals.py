"""The usual membership scores, which need neither reconstruction nor attribution: what those have to beat."""

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.leakage.gradients import check_pool, squared_lengths
from invaudit.models import Target, collect


def loss(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """Return minus the cross-entropy of each image, (N,) float64 on the CPU; higher = more likely a member.

    Args:
        target: Borrowed in eval mode.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64, their classes.

    Raises:
        ShapeError: Images or labels of the wrong shape.
        SettingError: A label or a pixel outside its range.
        ModelError: A logit is not finite.

    References:
        Yeom et al. (arXiv 1709.01604).
    """
    own_logit, other_logits = _logits(target, images, labels)
    # Written by the log-odds: the log-probability of a sure answer would round to 0.
    return -functional.softplus(other_logits.logsumexp(1) - own_logit[:, 0])


def logit_margin(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of the class minus the largest other, (N,) float64; arguments and errors as for ``loss``."""
    own_logit, other_logits = _logits(target, images, labels)
    return (own_logit - other_logits).amin(1)


def gradient_norm(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """Return minus the length of the gradient of the cross-entropy by the weights, (N,) float64; else as ``loss``.

    The weights are those of linear and convolutional layers.

    Raises:
        ModelError: Such a layer is not called as a module.

    References:
        Nasr et al. (arXiv 1812.00910).
    """
    check_pool(target, images, labels)
    return -torch.stack(list(squared_lengths(target, images, labels, _cross_entropy).values())).sum(0).sqrt()


SIGNALS = {"loss": loss, "margin": logit_margin, "gradient-norm": gradient_norm}
"""Scores of a pool by name."""


def _logits(target: Target, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logit of the class (N, 1), and all logits with that one at minus infinity."""
    check_pool(target, images, labels)
    logits = collect(target, images.float(), keep_maps=False).logits.double()
    return logits.gather(1, labels[:, None]), logits.scatter(1, labels[:, None], -torch.inf)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    # In float32 the softmax of a sure answer rounds to 1, and its gradient to 0.
    return functional.cross_entropy(logits.double(), labels, reduction="none")
