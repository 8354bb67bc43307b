"""Numbers from scores: rank metrics, intervals, tests, calibration and conformal thresholds.

Everything here takes and gives numpy arrays, needs numpy and scipy only, and knows nothing of images or networks.
"""

from invaudit.stats.blind import BlindBaseline, BlindFinding, blind_test, strata
from invaudit.stats.bootstrap import (
    SeedDraws,
    bootstrap_auroc,
    bootstrap_fpr95,
    combine,
    percentile_interval,
    resample_images,
    resample_seeds,
    two_sided_p,
)
from invaudit.stats.calibration import expected_calibration_error
from invaudit.stats.claims import FALSE_CLAIMS, Claims, control_p_values, knockoff_q_values, make_claims
from invaudit.stats.comparison import (
    ComparedRow,
    ComparisonVerdict,
    adjusted_p_values,
    comparison_verdict,
    holm_family,
    is_baseline,
)
from invaudit.stats.conformal import conformal_p_values, conformal_threshold, false_alarm_band
from invaudit.stats.delong import auroc_interval
from invaudit.stats.designs import DESIGNS, Design, Observational, Pairs
from invaudit.stats.estimate import Estimate
from invaudit.stats.families import Judged, judge_family, known_leak_found, overall_of
from invaudit.stats.limits import ScoringLimit, scoring_limit
from invaudit.stats.membership_tests import Membership, membership, membership_difference, membership_p_values
from invaudit.stats.multiple import holm
from invaudit.stats.nulls import control_half_width, null_standard_error
from invaudit.stats.privacy import epsilon_lower_bound
from invaudit.stats.rank_metrics import Ranking, aupr, auroc, fpr95, fpr95_id, ranking
from invaudit.stats.reference_scores import lira_offline, lira_online, offline_a, rmia
from invaudit.stats.relabelling import ShortListError, list_length, nearest_lists, restricted_lists
from invaudit.stats.repeats import Repeats, repeats_of
from invaudit.stats.shares import change_of_share, counted_share, difference_of_changes, difference_of_shares
from invaudit.stats.verdicts import (
    ALPHA,
    OverallVerdict,
    Verdict,
    VerdictTest,
    decide,
    draws_agree,
    null_p_value,
    overall,
    verdict_test,
)

__all__ = [
    "ALPHA",
    "DESIGNS",
    "FALSE_CLAIMS",
    "BlindBaseline",
    "BlindFinding",
    "Claims",
    "ComparedRow",
    "ComparisonVerdict",
    "Design",
    "Estimate",
    "Judged",
    "Membership",
    "Observational",
    "OverallVerdict",
    "Pairs",
    "Ranking",
    "Repeats",
    "ScoringLimit",
    "SeedDraws",
    "ShortListError",
    "Verdict",
    "VerdictTest",
    "adjusted_p_values",
    "aupr",
    "auroc",
    "auroc_interval",
    "blind_test",
    "bootstrap_auroc",
    "bootstrap_fpr95",
    "change_of_share",
    "combine",
    "comparison_verdict",
    "conformal_p_values",
    "conformal_threshold",
    "control_half_width",
    "control_p_values",
    "counted_share",
    "decide",
    "difference_of_changes",
    "difference_of_shares",
    "draws_agree",
    "epsilon_lower_bound",
    "expected_calibration_error",
    "false_alarm_band",
    "fpr95",
    "fpr95_id",
    "holm",
    "holm_family",
    "is_baseline",
    "judge_family",
    "knockoff_q_values",
    "known_leak_found",
    "lira_offline",
    "lira_online",
    "list_length",
    "make_claims",
    "membership",
    "membership_difference",
    "membership_p_values",
    "nearest_lists",
    "null_p_value",
    "null_standard_error",
    "offline_a",
    "overall",
    "overall_of",
    "percentile_interval",
    "ranking",
    "repeats_of",
    "resample_images",
    "resample_seeds",
    "restricted_lists",
    "rmia",
    "scoring_limit",
    "strata",
    "two_sided_p",
    "verdict_test",
]
