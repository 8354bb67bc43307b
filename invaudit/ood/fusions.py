"""Fusions: published rules that join the scores of several detectors into one, as baselines beside ``joint``.

Each score is scaled to minus the log of its p-value among held-out ID images first, by the same `Scale` as the parts of
``joint``, so that far images do not tie.

References:
    Combine and Conquer, TMLR 2024, arXiv 2406.16045: p-values of OOD scores merged by Fisher's, Stouffer's, Hartung's
    and Tippett's rule (the largest).
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from invaudit.ood.joint import Scale

Scores = NDArray[np.float64]
PAPER = "arXiv 2406.16045"
HARTUNG_KAPPA = 0.2


def fisher(surprise: Scores) -> Scores:
    """Return the sum of minus log p-values (N,), of those of k detectors (k, N).

    References:
        Fisher (1932).
    """
    return surprise.sum(0)


def stouffer(surprise: Scores) -> Scores:
    """Return the sum of the normal quantiles of 1 - p over the root of k, (N,).

    References:
        Stouffer et al. (1949).
    """
    return _normal(surprise).sum(0) / np.sqrt(len(surprise))


def hartung(surprise: Scores) -> Scores:
    """Return Stouffer's sum over a standard deviation that allows for scores that go together, (N,).

    Their correlation is estimated for each image by how little its quantiles spread: 1 - variance, at least
    -1 / (k - 1).

    References:
        Hartung, Biometrical Journal 41 (1999), with kappa 0.2.
    """
    normal, k = _normal(surprise), len(surprise)
    correlation = np.maximum(1 - normal.var(0, ddof=1), -1 / (k - 1))
    correlation = correlation + HARTUNG_KAPPA * np.sqrt(2 / (k + 1)) * (1 - correlation)
    return normal.sum(0) / np.sqrt(k + k * (k - 1) * correlation)


def largest(surprise: Scores) -> Scores:
    """Return the largest of the minus log p-values, (N,): the detector that finds an image strangest."""
    return surprise.max(0)


RULES: dict[str, Callable[[Scores], Scores]] = {
    "fisher": fisher,
    "stouffer": stouffer,
    "hartung": hartung,
    "largest": largest,
}
"""Name -> rule: from minus log p-values (k, N) of k >= 2 detectors to scores (N,), higher = more OOD."""

SIX = ("GEN", "EnergyBased", "KNN", "ViM", "fDBD", "RMD")
"""The shorter of the two lists of detectors; the other one is of all that ran at their defaults, but for
those of high cost."""


def fuse(rule: str, held_out: Mapping[str, Scores], scores: Mapping[str, Scores]) -> Scores:
    """Return the fused scores (N,) of some images.

    Args:
        rule: Key of ``RULES``.
        held_out: Name of a detector -> its scores (n,) of held-out ID images.
        scores: The same names -> its scores (N,) of the images.
    """
    surprise = []
    for name, reference in held_out.items():
        scale = Scale(torch.from_numpy(reference).double().sort().values)
        surprise.append(scale(torch.from_numpy(scores[name]).double()).numpy())
    return RULES[rule](np.stack(surprise))


def _normal(surprise: Scores) -> Scores:
    """Return the normal quantiles of 1 - p, of minus log p-values."""
    # A p-value of 1 has the quantile minus infinity, which would decide alone.
    return -ndtri_exp(-np.maximum(surprise, 1e-6))
