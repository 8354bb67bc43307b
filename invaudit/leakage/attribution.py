"""Attribution: which images of a pool explain the weights of a target, without making images."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from invaudit.leakage.gradients import check_pool, layers, products, weights
from invaudit.models import Target
from invaudit.runtime.errors import ModelError, SettingError

RIDGE = 1e-8
"""Added to the diagonal of the Gram matrix, in multiples of its mean: two equal images share their multiplier."""

TOLERANCE = 1e-9
"""Tolerance of the optimality conditions, relative to the largest inner product, for gradients of unit length."""


def attribute(target: Target, images: Tensor, labels: Tensor, *, initial: Mapping[str, Tensor] | None = None) -> Tensor:
    """Return for each image of a pool how much of the target's weights it explains; higher = more likely a member.

    The weights theta are fitted by sum_i l_i grad s(x_i, y_i), l_i >= 0, with s ``gradients.log_odds`` and
    every layer weighted by its fan-in. The score is the multiplier l_i where it is positive. Elsewhere it is minus the
    multiplier's distance from becoming so, the derivative of the fit by l_i over the squared length of the gradient.

    Args:
        target: Borrowed in eval mode; linear and convolutional layers are read, whatever else it has.
        images: (N, C, H, W) in [0, 1], members and controls together; their order has no influence.
        labels: (N,) int64, their classes.
        initial: State dict of the target's module before training, where it is known. Then the change of the weights
            is fitted, by gradients averaged over the first and the last state.

    Returns:
        (N,) float64 on the CPU.

    Raises:
        ShapeError: Images or labels of the wrong shape.
        SettingError: A label or a pixel outside its range.
        ModelError: A logit is not finite, or ``initial`` is not a state of the target's module.

    References:
        The stationarity condition of Lyu and Li (ICLR 2020) as used by Haim et al. (arXiv 2206.07758, Eq. 4) and
        Buzaglo et al. (arXiv 2307.01827), here solved for the multipliers at given images; averaged gradients in the
        spirit of Loo et al. (arXiv 2302.01428). The weighting by fan-in and the score below zero are our own.
    """
    check_pool(target, images, labels)
    targets, fitted = [target], {name: weights(layer) for name, layer in layers(target).items()}
    if initial is not None:
        first = initialised(target, initial)
        targets.append(first)
        fitted = {name: fitted[name] - weights(layer) for name, layer in layers(first).items()}
    inner_products = products(targets, fitted, images, labels)
    lengths = inner_products.gram.diagonal()
    gram = inner_products.gram + RIDGE * lengths.mean() * torch.eye(len(images), dtype=torch.float64)
    multipliers = nonnegative_fit(gram, inner_products.inner)
    slope = (gram @ multipliers - inner_products.inner).clamp_min(0) * (multipliers == 0)
    return multipliers - slope / gram.diagonal()


def nonnegative_fit(gram: Tensor, inner: Tensor) -> Tensor:
    """Return the x >= 0 that minimises x'Gx / 2 - c'x, by block principal pivoting.

    Args:
        gram: G, (N, N) float64, symmetric positive definite.
        inner: c, (N,) float64.

    Returns:
        (N,) float64, exactly 0 where the constraint holds it; the optimality conditions hold to ``TOLERANCE``.

    Raises:
        SettingError: No convergence, which a positive definite G does not allow.

    References:
        Judice and Pires (1994); exchange rule of Kim and Park (SIAM J. Sci. Comput. 33, 2011, Algorithm 1).
    """
    scale = gram.diagonal().rsqrt()
    unit, wanted = gram * scale * scale[:, None], inner * scale
    limit = TOLERANCE * float(wanted.abs().max().clamp_min(1e-300))
    free = torch.zeros(len(inner), dtype=torch.bool)
    x, slope = torch.zeros_like(wanted), -wanted
    fewest, patience = len(inner) + 1, 3
    for _ in range(10 * len(inner) + 100):
        wrong = torch.where(free, x < -limit, slope < -limit)
        count = int(wrong.sum())
        if not count:
            return x.clamp_min(0) * scale
        if count < fewest:
            fewest, patience = count, 3
        elif patience:
            patience -= 1
        else:  # exchanging all may cycle, exchanging the last alone cannot
            wrong = torch.arange(len(wrong)) == wrong.nonzero()[-1]
        free ^= wrong
        x = torch.zeros_like(wanted)
        x[free] = torch.cholesky_solve(wanted[free, None], torch.linalg.cholesky(unit[free][:, free]))[:, 0]
        slope = unit @ x - wanted
    raise SettingError("the non-negative fit did not converge; the Gram matrix is not positive definite")


def initialised(target: Target, initial: Mapping[str, Tensor]) -> Target:
    """Return a copy of the target in another state of its module.

    Raises:
        ModelError: The state does not fit.
    """
    copy = deepcopy(target)
    try:
        copy.module.load_state_dict(dict(initial))
    except RuntimeError as error:
        raise ModelError("initial is not a state of the target's module; pass target.module.state_dict()") from error
    return copy
