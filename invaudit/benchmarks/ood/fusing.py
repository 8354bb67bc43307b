"""Rows of fusions: what published rules make of the scores that the detectors of pytorch-ood have given."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from invaudit.benchmarks.ood.scoring import Outcomes
from invaudit.ood import BASELINES
from invaudit.ood.fusions import PAPER, RULES, SIX, surprise
from invaudit.records import DetectorInfo, scores_key
from invaudit.records.names import HELD_OUT
from invaudit.runtime.errors import NotApplicableError

FUSION_PREFIX = "fusion-"
"""How names of fusions begin."""
FEWEST = 2
"""Detectors that can be joined."""


def fused_scores(arrays: Mapping[str, np.ndarray], sets: Sequence[str], outcomes: Outcomes) -> dict[str, np.ndarray]:
    """Return the scores of every fusion on every set, rows ``fusion-RULE-LIST``, and note how each fares.

    Fused are pytorch-ood's scores at their defaults, but for those of high cost, which see few images, and for second
    rows of one detector (``NAME@...``).

    Args:
        arrays: Scores of the detectors by `scores_key`, those of the held-out images too.
        sets: Names of the sets.
        outcomes: How the detectors have fared; it is brought up to date.
    """
    all_names = []
    for name, row in BASELINES.items():
        if "@" not in name and row.info.cost != "high" and scores_key(name, HELD_OUT) in arrays:
            all_names.append(name)
    surprises: dict[str, np.ndarray] = {}
    for name, set_name in product(all_names, sets):
        key = scores_key(name, set_name)
        if key in arrays:
            surprises[key] = surprise(arrays[scores_key(name, HELD_OUT)], arrays[key])
    fused: dict[str, np.ndarray] = {}
    for (list_name, names), rule in product({"all": tuple(all_names), "six": SIX}.items(), RULES):
        info = DetectorInfo(
            name=f"{FUSION_PREFIX}{rule}-{list_name}", role="library", consumes="logits+features+maps", paper=PAPER
        )
        with outcomes.of(info):
            missing = [name for name in names if name not in all_names]
            if missing or len(names) < FEWEST:
                raise NotApplicableError(f"needs the scores of {', '.join(missing) or 'two detectors'}")
            scores = {}
            for set_name in sets:
                keys = [scores_key(name, set_name) for name in names]
                if all(key in surprises for key in keys):
                    scores[scores_key(info.name, set_name)] = RULES[rule](np.stack([surprises[key] for key in keys]))
            fused |= scores
    return fused
