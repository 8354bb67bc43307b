"""Reconstruct training images from a target, and say whether it leaks them.

``METHODS`` makes images and ``attribute`` scores a pool without any; ``scoring`` compares images with a pool.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.leakage.attribution import attribute, span_score
    from invaudit.leakage.audits import Audit, Metrics, Row, describe_pool, make_metrics, not_audited, noted
    from invaudit.leakage.blind import Blind, blind_baseline
    from invaudit.leakage.judging import MEMBERSHIP, PAPERS_COUNT, TABLE, adjusted, judged
    from invaudit.leakage.membership_signals import SIGNALS
    from invaudit.leakage.methods import METHODS, Method, reconstruct
    from invaudit.leakage.planted import degraded_copies, unrelated
    from invaudit.leakage.pool import Pool, make_pool, read_groups, read_pairs, stratified
    from invaudit.leakage.reconstruction import Reconstructions
    from invaudit.leakage.scoring import Scored, best_similarity, papers_count, score_reconstructions, sign_of
    from invaudit.leakage.targets import RECIPES, PairsDraw, TargetRecipe, draw_pairs, train_target

__getattr__, __all__ = attach(
    __name__,
    {
        "Audit": "audits",
        "Blind": "blind",
        "MEMBERSHIP": "judging",
        "METHODS": "methods",
        "Metrics": "audits",
        "Method": "methods",
        "PAPERS_COUNT": "judging",
        "PairsDraw": "targets",
        "Pool": "pool",
        "RECIPES": "targets",
        "Reconstructions": "reconstruction",
        "Row": "audits",
        "SIGNALS": "membership_signals",
        "Scored": "scoring",
        "TABLE": "judging",
        "TargetRecipe": "targets",
        "adjusted": "judging",
        "attribute": "attribution",
        "best_similarity": "scoring",
        "blind_baseline": "blind",
        "degraded_copies": "planted",
        "describe_pool": "audits",
        "draw_pairs": "targets",
        "judged": "judging",
        "make_metrics": "audits",
        "make_pool": "pool",
        "not_audited": "audits",
        "noted": "audits",
        "papers_count": "scoring",
        "read_groups": "pool",
        "read_pairs": "pool",
        "reconstruct": "methods",
        "score_reconstructions": "scoring",
        "sign_of": "scoring",
        "span_score": "attribution",
        "stratified": "pool",
        "train_target": "targets",
        "unrelated": "planted",
    },
)
