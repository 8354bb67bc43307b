"""Fusions: published rules that join the scores of several detectors into one, as baselines beside ``joint``.

Each score is scaled to minus the log of its p-value among held-out ID images first, by the same `Scale` as the parts of
``joint``, so that far images do not tie.

References:
    Combine and Conquer, TMLR 2024, arXiv 2406.16045: p-values of OOD scores merged by Fisher's, Stouffer's, Hartung's
    and Tippett's rule (the largest).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri_exp

from invaudit.ood.joint import Scale

Scores = NDArray[np.float64]
PAPER = "arXiv 2406.16045"
HARTUNG_KAPPA = 0.2


def fisher(surprises: Scores) -> Scores:
    """Return the sum of minus log p-values (N,), of those of k detectors (k, N).

    References:
        Fisher (1932).
    """
    return surprises.sum(0)


def stouffer(surprises: Scores) -> Scores:
    """Return the sum of the normal quantiles of 1 - p over the root of k, (N,).

    References:
        Stouffer et al. (1949).
    """
    return _normal(surprises).sum(0) / np.sqrt(len(surprises))


def hartung(surprises: Scores) -> Scores:
    """Return Stouffer's sum over a standard deviation that allows for scores that go together, (N,).

    Their correlation is estimated for each image by how little its quantiles spread: 1 - variance, at least
    -1 / (k - 1).

    References:
        Hartung, Biometrical Journal 41 (1999), with kappa 0.2.
    """
    normal, k = _normal(surprises), len(surprises)
    correlation = np.maximum(1 - normal.var(0, ddof=1), -1 / (k - 1))
    correlation = correlation + HARTUNG_KAPPA * np.sqrt(2 / (k + 1)) * (1 - correlation)
    return normal.sum(0) / np.sqrt(k + k * (k - 1) * correlation)


def largest(surprises: Scores) -> Scores:
    """Return the largest of the minus log p-values, (N,): the detector that finds an image strangest."""
    return surprises.max(0)


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


def surprise(held_out: Scores, scores: Scores) -> Scores:
    """Return minus the log p-values (N,) of a detector's scores (N,) among its scores (n,) of held-out ID images."""
    scale = Scale(torch.from_numpy(held_out).double().sort().values)
    return scale(torch.from_numpy(scores).double()).numpy()


def _normal(surprises: Scores) -> Scores:
    """Return the normal quantiles of 1 - p, of minus log p-values."""
    # A p-value of 1 has the quantile minus infinity, which would decide alone.
    return -ndtri_exp(-np.maximum(surprises, 1e-6))
