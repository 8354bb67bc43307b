"""The usual membership scores, which need neither reconstruction nor attribution: what those have to beat."""

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.leakage.gradients import check_pool, squared_lengths
from invaudit.models import Target, collect

SIGNALS = ("loss", "margin", "gradient-norm")
"""Names of the scores."""


def membership_scores(target: Target, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return scores of a pool by what the target makes of each image; higher = more likely a member.

    Args:
        target: Borrowed in eval mode.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64, their classes.

    Returns:
        ``loss`` (minus the cross-entropy), ``margin`` (logit of the class minus the largest other) and
        ``gradient-norm`` (minus the length of the gradient of the cross-entropy by the weights of linear and
        convolutional layers), each (N,) float64 on the CPU.

    Raises:
        ShapeError: Images or labels of the wrong shape.
        SettingError: A label or a pixel outside its range.
        ModelError: A logit is not finite.

    Source: Yeom et al. (arXiv 1709.01604) for the loss, Nasr et al. (arXiv 1812.00910) for the gradient.
    """
    check_pool(target, images, labels)
    logits = collect(target, images.float(), keep_maps=False).logits.double()
    wanted = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    squared = torch.stack(list(squared_lengths(target, images, labels, _cross_entropy).values())).sum(0)
    return {
        # Written by the margin to the logsumexp: the log-probability of a sure answer would round to 0.
        "loss": -functional.softplus(others.logsumexp(1) - wanted[:, 0]),
        "margin": (wanted - others).amin(1),
        "gradient-norm": -squared.sqrt(),
    }


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    # In float32 the softmax of a sure answer rounds to 1, and its gradient to 0.
    return functional.cross_entropy(logits.double(), labels, reduction="none")
