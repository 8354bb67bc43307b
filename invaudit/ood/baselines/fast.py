"""Exact fast forms of what the library computes slowly, or differently for different batches."""

from dataclasses import dataclass
from functools import reduce
from typing import cast

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class OpenMax:
    """OpenMax with a score that does not depend on the batch.

    The library knows the distances to classes that some image of the batch is predicted as, and none to the others.

    Attributes:
        centres: (K, K) float64, mean logits of every class.
        weibull: (3, K) float64: shape, scale and shift of the distances of every class.
        alpha: Number of top classes that are revised.

    References:
        Bendale and Boult, CVPR 2016, algorithms 1 and 2; constants as in the library.
    """

    centres: Tensor
    weibull: Tensor
    alpha: int

    @classmethod
    def fit(cls, logits: Tensor, labels: Tensor, *, tailsize: int = 25, alpha: int = 10) -> "OpenMax":
        """Fit a Weibull distribution to the largest distances of every class to its mean logits (N, K)."""
        centres, weibull = [], []
        for label in range(logits.shape[1]):
            vectors = logits[labels == label].double()
            centre = vectors.mean(0)
            distances = (vectors - centre).norm(dim=1).sort().values
            centres.append(centre)
            weibull.append(_weibull(distances[-tailsize:].numpy()))
        parameters = torch.tensor(weibull, dtype=torch.float64).T
        return cls(torch.stack(centres), parameters, min(alpha, logits.shape[1]))

    def score(self, logits: Tensor) -> Tensor:
        """Return the probability of the unknown class, (N,) float64, of logits (N, K)."""
        logits = logits.double()
        shape, scale, shift = self.weibull
        distances = torch.cdist(logits, self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        outside = -torch.expm1(-(((distances + shift) / scale) ** shape))
        rank = logits.argsort(1, descending=True).argsort(1)
        removed = outside * ((self.alpha - rank) / self.alpha).clamp_min(0)
        unknown = (logits * removed).sum(1, keepdim=True)
        return torch.cat([unknown, logits * (1 - removed)], 1).softmax(1)[:, 0]


def _weibull(tail: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return shape, scale and shift of the Weibull distribution most likely to give ``tail`` plus shift."""
    shift = 10_000 - tail.min()
    top = tail.max() + shift
    logs = np.log((tail + shift) / top)

    def slope(shape: float) -> float:
        weights = np.exp(shape * logs)
        return (weights @ logs) / weights.sum() - 1 / shape - logs.mean()

    # The profile likelihood has one maximum: its slope in the shape changes sign once.
    shape = float(cast(float, scipy.optimize.brentq(slope, 1e-3, 1e12)))
    return shape, float(top * np.mean(np.exp(shape * logs)) ** (1 / shape)), float(shift)


def without_rank_one(maps: Tensor) -> Tensor:
    """Return maps (N, C, H, W) less the first singular triplet of each C x HW matrix.

    The first eigenvector of the smaller Gram matrix gives the triplet without a singular value decomposition.

    References:
        RankFeat, NeurIPS 2022, equation 2.
    """
    matrices = maps.flatten(2).double()
    wide = matrices.shape[1] < matrices.shape[2]
    tall = matrices.transpose(1, 2) if wide else matrices
    first = _first_eigenvectors(tall.transpose(1, 2) @ tall)
    residual = tall - (tall @ first) @ first.transpose(1, 2)
    return (residual.transpose(1, 2) if wide else residual).to(maps.dtype).reshape(maps.shape)


def _first_eigenvectors(matrices: Tensor) -> Tensor:
    """Return the eigenvector of the largest eigenvalue, (N, M, 1), of positive semidefinite matrices (N, M, M).

    By the 32nd power, to which the first eigenvector alone is left; by a full decomposition where others are too.
    """
    powers = _with_unit_trace(matrices).float()
    for _ in range(5):
        powers = _with_unit_trace(powers @ powers)
    columns = powers.diagonal(dim1=1, dim2=2).argmax(1)
    first = powers[torch.arange(len(powers)), :, columns].double()[:, :, None]
    for _ in range(4):
        first = functional.normalize(matrices @ first, dim=1)
    # The eigenvalues sum to 1; if their squares do too, there is but one.
    unsure = ~(powers.square().sum((1, 2)) > 1 - 2e-6)
    if unsure.any():
        first[unsure] = torch.linalg.eigh(matrices[unsure]).eigenvectors[:, :, -1:]
    return first


def _with_unit_trace(matrices: Tensor) -> Tensor:
    return matrices / matrices.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]


def gram_sums(features: Tensor, p: int) -> Tensor:
    """Return the row sums of the Gram matrix of order p, (N, C), of maps (N, C, ...).

    A row sum is the channel times the sum of all channels: C x HW products in place of C x C x HW.

    References:
        Sastry and Oore, ICML 2020, section 3.
    """
    powers = reduce(torch.mul, [features.reshape(*features.shape[:2], -1)] * p)
    sums = (powers * powers.sum(1, keepdim=True)).sum(2)
    return sums.sign() * sums.abs() ** (1 / p)


def last_layer_gradient(logits: Tensor, features: Tensor, *, bias: bool, temperature: float = 1.0) -> Tensor:
    """Return GradNorm's score (N,) from the parameters of the last layer alone, of logits (N, K), features (N, D).

    The gradient of the weights is the outer product of (p - 1 / K) / T and the features.

    References:
        GradNorm, NeurIPS 2021, section 4; the mean over classes as in the library.
    """
    slopes = ((logits.double() / temperature).softmax(1) - 1 / logits.shape[1]) / temperature
    return -slopes.abs().sum(1) * (features.double().abs().sum(1) + bias)


def last_layer_uncertainty(logits: Tensor, features: Tensor, *, bias: bool) -> Tensor:
    """Return GradUncertainty's score (N,) from the parameters of the last layer alone.

    The gradient of the weights is the outer product of K p - 1 and the features.

    References:
        Lee and AlRegib, ICIP 2020, equation 3. The library's loss cuts off logarithms of p below 1e-12.
    """
    slopes = logits.shape[1] * logits.double().softmax(1) - 1
    return -slopes.square().sum(1) * (features.double().square().sum(1) + bias)


def shaped_maps(maps: Tensor, percentile: float, *, pruned: bool) -> Tensor:
    """Return maps (N, C, H, W) as ASH (``pruned``) or SCALE shape them.

    All are multiplied by exp(sum of all / sum of the largest); ASH sets all but the largest to 0. The library sorts the
    largest; here a partition finds the least of them.

    References:
        ASH-S, ICLR 2023, algorithm 3; SCALE, ICLR 2024, equation 4.
    """
    flat = maps.flatten(1)
    n = flat.shape[1]
    n_largest = n - round(n * percentile)
    least = torch.from_numpy(np.partition(flat.numpy(), n - n_largest, axis=1)[:, n - n_largest, None])
    above = flat > least
    # Of values equal to the least, only as many as there is room for.
    largest = (flat * above).sum(1, keepdim=True) + least * (n_largest - above.sum(1, keepdim=True))
    factor = (flat.sum(1, keepdim=True) / largest).exp()
    return (flat * (factor * (flat >= least) if pruned else factor)).view_as(maps)
