"""Reconstruct training images from a target, and say whether it leaks them.

``METHODS`` makes images and ``attribute`` scores a pool without any; ``scoring`` compares images with a pool.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.leakage.attribution import attribute
    from invaudit.leakage.blind import BlindBaseline, blind_baseline
    from invaudit.leakage.matches import PoolMatches, best_similarity, papers_count, score_reconstructions, sign_of
    from invaudit.leakage.membership_signals import SIGNALS
    from invaudit.leakage.methods import METHODS, Method, reconstruct
    from invaudit.leakage.planted import degraded_copies, unrelated
    from invaudit.leakage.pool import Pool, make_pool, read_groups, read_pairs, stratified
    from invaudit.leakage.reconstruction import Reconstructions
    from invaudit.leakage.rows import MEMBERSHIP, PAPERS_COUNT, TABLE, holm_by_test, judge_rows
    from invaudit.leakage.run import ReconstructionRun, run_reconstruction
    from invaudit.leakage.target_audit import Audit, Metrics, Row, describe_pool, make_metrics, not_audited, row_status
    from invaudit.leakage.targets import RECIPES, PairsDraw, TargetRecipe, draw_pairs, train_target

__all__ = [
    "MEMBERSHIP",
    "METHODS",
    "PAPERS_COUNT",
    "RECIPES",
    "SIGNALS",
    "TABLE",
    "Audit",
    "BlindBaseline",
    "Method",
    "Metrics",
    "PairsDraw",
    "Pool",
    "PoolMatches",
    "ReconstructionRun",
    "Reconstructions",
    "Row",
    "TargetRecipe",
    "attribute",
    "best_similarity",
    "blind_baseline",
    "degraded_copies",
    "describe_pool",
    "draw_pairs",
    "holm_by_test",
    "judge_rows",
    "make_metrics",
    "make_pool",
    "not_audited",
    "papers_count",
    "read_groups",
    "read_pairs",
    "reconstruct",
    "row_status",
    "run_reconstruction",
    "score_reconstructions",
    "sign_of",
    "stratified",
    "train_target",
    "unrelated",
]
__getattr__, __dir__ = attach(__name__)
