"""Reconstruct training images from a target, and say whether it leaks them.

``METHODS`` makes images, ``attribute`` scores a pool without any, and ``matches`` compares images with a pool.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.leakage.attribution import attribute
    from invaudit.leakage.blind import blind_baseline
    from invaudit.leakage.matches import PoolMatches, best_similarity, papers_count, score_reconstructions
    from invaudit.leakage.membership_signals import SIGNALS
    from invaudit.leakage.methods import METHODS, Method, reconstruct
    from invaudit.leakage.planted import degraded_copies, unrelated
    from invaudit.leakage.pool import Pool, make_pool, read_groups, read_pairs
    from invaudit.leakage.quantile_regression import image_features, quantile_score
    from invaudit.leakage.reconstruction import Reconstructions
    from invaudit.leakage.run import ReconstructionRun, run_reconstruction
    from invaudit.leakage.targets import RECIPES, PairsDraw, TargetRecipe, draw_pairs, train_target

__all__ = [
    "METHODS",
    "RECIPES",
    "SIGNALS",
    "Method",
    "PairsDraw",
    "Pool",
    "PoolMatches",
    "ReconstructionRun",
    "Reconstructions",
    "TargetRecipe",
    "attribute",
    "best_similarity",
    "blind_baseline",
    "degraded_copies",
    "draw_pairs",
    "image_features",
    "make_pool",
    "papers_count",
    "quantile_score",
    "read_groups",
    "read_pairs",
    "reconstruct",
    "run_reconstruction",
    "score_reconstructions",
    "train_target",
    "unrelated",
]
__getattr__, __dir__ = attach(__name__)
