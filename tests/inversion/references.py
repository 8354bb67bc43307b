"""An independent computation of every objective."""

import numpy as np
import torch
from scipy import special
from torch import nn

from invaudit.inversion import Step
from tests.inversion.steps import N


def cosine_matrix(rows: torch.Tensor) -> np.ndarray:
    values = rows.numpy()
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in values] for a in values])


def pairs(labels: torch.Tensor, *, same: bool) -> list[tuple[int, int]]:
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j]
    return [(i, j) for i, j in pairs if labels[i] == labels[j]] if same else pairs


def by_pairs(rows: torch.Tensor, labels: torch.Tensor, value, *, same: bool) -> float:
    cosines = cosine_matrix(rows)
    return float(np.mean([value(cosines[i, j]) for i, j in pairs(labels, same=same)]))


def statistics_by_hand(observed: Step) -> float:
    values = []
    for layer in observed.batch_norm:
        mean, variance, stored, spread = (
            value.numpy() for value in (layer.mean, layer.variance, layer.stored_mean, layer.stored_variance)
        )
        values.append(
            np.linalg.norm(mean - stored) / np.linalg.norm(np.sqrt(spread))
            + np.linalg.norm(variance - spread) / np.linalg.norm(spread)
        )
    return float(np.mean(values))


def scaled_statistics_by_hand(observed: Step) -> float:
    values = []
    for layer in observed.batch_norm:
        channels = zip(layer.mean, layer.variance, layer.stored_mean, layer.stored_variance, strict=True)
        for mean, variance, stored, spread in (map(float, channel) for channel in channels):
            values.append((mean - stored) ** 2 / spread + (np.log(variance) - np.log(spread)) ** 2)
    return float(np.mean(values))


def difference_by_loops(observed: Step) -> float:
    images = observed.images.numpy()
    both = pairs(observed.condition.labels, same=True)
    return -float(np.mean([np.abs(images[i] - images[j]).mean() for i, j in both]))


def variation_by_loops(images: torch.Tensor) -> float:
    n, channels, height, width = images.shape
    down = across = 0.0
    for i in range(n):
        for c in range(channels):
            down += sum(
                abs(images[i, c, y + 1, x] - images[i, c, y, x]) for y in range(height - 1) for x in range(width)
            )
            across += sum(
                abs(images[i, c, y, x + 1] - images[i, c, y, x]) for y in range(height) for x in range(width - 1)
            )
    return float(down / (n * channels * (height - 1) * width) + across / (n * channels * height * (width - 1)))


def kl_by_hand(observed: Step, logits: torch.Tensor) -> float:
    wanted = observed.condition.wanted.numpy()
    return float(special.rel_entr(wanted, special.softmax(logits.numpy(), 1)).sum(1).mean())


def cross_entropy_by_hand(observed: Step, logits: torch.Tensor) -> float:
    return float(-special.log_softmax(logits.numpy(), 1)[np.arange(N), observed.condition.labels.numpy()].mean())


def head_gradient_by_autograd(observed: Step) -> float:
    """Return the mean norm of each image's loss gradient in a head whose logits are those of the step."""
    norms = []
    for feature, logits, label in zip(observed.features, observed.logits, observed.condition.labels, strict=True):
        weight = torch.linalg.lstsq(feature[None], logits[None]).solution.T.requires_grad_()
        loss = nn.functional.cross_entropy((weight @ feature)[None], label[None])
        norms.append(torch.autograd.grad(loss, weight)[0].norm().item())
    return float(np.mean(norms))


REFERENCES = {
    "kl": lambda s: kl_by_hand(s, s.logits),
    "cross-entropy": lambda s: cross_entropy_by_hand(s, s.logits),
    "kl-perturbed": lambda s: kl_by_hand(s, s.perturbed_logits),
    "cross-entropy-perturbed": lambda s: cross_entropy_by_hand(s, s.perturbed_logits),
    "gradient-norm": head_gradient_by_autograd,
    "gradient-norm-all": lambda s: float(np.linalg.norm(np.concatenate([g.flatten() for g in s.weight_gradients]))),
    "cosine": lambda s: by_pairs(s.features, s.condition.labels, lambda c: max(c, 0.0), same=True),
    "cosine-all": lambda s: by_pairs(s.features, s.condition.labels, lambda c: c, same=False),
    "orthogonality": lambda s: by_pairs(s.features, s.condition.labels, lambda c: c * c, same=False),
    "image-cosine": lambda s: by_pairs(s.images.flatten(1), s.condition.labels, lambda c: c * c, same=True),
    "image-distance": difference_by_loops,
    "batch-norm": statistics_by_hand,
    "batch-norm-scaled": scaled_statistics_by_hand,
    "total-variation": lambda s: variation_by_loops(s.images),
    "distance": lambda s: float(
        np.mean([np.linalg.norm(x - s.centre.numpy()) ** 2 for x in s.images.numpy()]) / s.centre.numel()
    ),
    "pixel-range": lambda s: float(np.mean([max(-v, 0) + max(v - 1, 0) for v in s.images.flatten().tolist()])),
}
