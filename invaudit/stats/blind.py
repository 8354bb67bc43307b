"""The blind baseline: can members be told from controls without the target? Then they differ by themselves.

A ridge regression of membership on features of the images, fitted on some images and judged on others. Its scores are a
linear function of the labels, so fitting it anew under every relabelling is one product.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from invaudit.runtime.errors import ShapeError
from invaudit.stats.checks import at_least_one, finite_array
from invaudit.stats.designs import Design, Labels, Observational, Pairs, Positions

SHIFT_LEVEL = 0.01
"""Level of the test for a shift."""
SHIFT_LIMIT = 0.55
"""AUROC below which a difference is reported and does not gate: within strata it does not move the verdict test
(part ``pool-10x200+200`` of ``benchmarks/choices/verdict_calibration.py``)."""
FOLDS = 5
PER_SIDE = 2
"""Members, and controls, that a bin of the blind score, or a part of a class, has room for."""
PENALTY = 1.0
"""Ridge penalty in standardised features' worth of data for each feature: tame where there are more features than
images, without effect where there are many images."""
AT_ONCE = 250
"""Relabellings fitted together; bounds the memory of large pools."""
ROUNDING = 1e-9  # so that 0.01 x 1000 is 10

BlindFinding = Literal["no-shift", "shift", "too-small"]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BlindBaseline:
    """What a classifier that never saw the target makes of a pool.

    Attributes:
        finding: ``shift``: members and controls differ by themselves (`is_shift`). ``too-small``: not even a perfect
            separation would be called so.
        auroc: Of members against controls, both scored by one fit that saw neither; the mean over folds, weighed by
            the comparisons in each. None: there is nothing to fit on, or nothing to compare.
        low: Lower end of its 95 % interval, from its spread under relabelling.
        high: Upper end.
        p_value: By relabelling, with the classifier fitted anew under each.
        called_above: AUROC above which the test would find a difference; None where it could not.
        score: (N,) share of the images of the same class and fold that look less like a member, ties half.
    """

    finding: BlindFinding
    auroc: float | None
    low: float | None
    high: float | None
    p_value: float | None
    called_above: float | None
    score: Values


def is_shift(auroc: float, low: float, p_value: float) -> bool:
    """Return whether members and controls differ by themselves, by more than strata take care of.

    p <= 0.01, the lower end of the 95 % interval above 0.5, and an AUROC of 0.55 or more: in a large pool a smaller
    difference can be certain, and does not move the verdict test.
    """
    return p_value <= SHIFT_LEVEL and low > 0.5 and auroc >= SHIFT_LIMIT


def blind_test(features: ArrayLike, design: Design, rng: np.random.Generator, *, draws: int = 999) -> BlindBaseline:
    """Test whether a linear classifier tells members from controls by features of the images alone.

    Cross-fitted ridge regression. Whole classes (or pairs) are in one of five folds; if there are fewer classes than
    folds, each is split with equal shares of both sides; groups stay whole. Features and labels are taken less the mean
    of their class within the fold, so that a mix of classes that differs between members and controls is no shift, and
    members are compared with controls of the same fold only: on exchangeable pools the mean AUROC is 0.5. Labels are
    permuted within class and fold, so the p-value is exact if they are exchangeable there; under ``pairs`` they are.

    Args:
        features: (N, D) features of the pool images.
        design: Who is a member, in which class and group.
        rng: Source of folds and relabellings.
        draws: Number of relabellings.

    Returns:
        The test. A classifier that finds nothing does not prove that there is no difference.

    Raises:
        ShapeError: Not one row of features per pool image.
        SettingError: A feature is NaN or infinite, or no draws.

    References:
        Das, Zhang and Tramer, arXiv 2406.16201, for the need of it; Airola et al. 2011 for comparing within folds only;
        ridge as in Hastie et al. 2009, section 3.4.
    """
    values = finite_array(features, "features", ndim=2)
    if len(values) != len(design):
        raise ShapeError(f"features has {len(values)} rows, expected {len(design)}; pass one per pool image")
    at_least_one(draws, "draws")
    classes = Observational(design.member, design.pair) if isinstance(design, Pairs) else design
    score = np.full(len(design), 0.5)
    judged = np.flatnonzero(np.isin(classes.unit_number, np.concatenate([[], *_mixed_blocks(classes)])))
    if not len(judged):  # no label can move
        return BlindBaseline("too-small", None, None, None, None, None, score)
    classes = classes.subset(judged)
    fold = _folds(classes, rng)
    if fold.max() == 0:
        return BlindBaseline("too-small", None, None, None, None, None, score)
    cell = _joint(classes.stratum, fold)
    within = Observational(classes.member, cell, classes.group)
    fit = _CrossFit(values[judged], cell, fold)
    observed = within.member[:, None]
    scores = fit.scores(observed)
    score[judged] = _rank_within(scores[:, 0], cell)
    aurocs = [fit.aurocs(scores, observed)]
    for start in range(0, draws, AT_ONCE):
        labels = within.relabellings(rng, min(AT_ONCE, draws - start)).T
        aurocs.append(fit.aurocs(fit.scores(labels), labels))
    return _result(np.concatenate(aurocs), max(_attainable_p(within), 1 / (1 + draws)), score)


def _attainable_p(design: Observational) -> float:
    """Return the smallest p-value that any labels can have: the share of relabellings with the same AUROC for sure.

    Those are the labels themselves and, if both sides are equal in number everywhere, all of them swapped.
    """
    balanced = bool((_means(design.member.astype(np.float64), design.stratum) == 0.5).all())
    return (1 + balanced) * design.attainable_p(np.flatnonzero(design.member))


def _result(aurocs: Values, attainable: float, score: Values) -> BlindBaseline:
    """Put the test together.

    Args:
        aurocs: (1 + B,) AUROCs, that of the labels at hand first.
        attainable: Smallest p-value that any labels can have.
        score: (N,) score.
    """
    auroc, relabelled = float(aurocs[0]), aurocs[1:]
    p_value = float((aurocs >= auroc).mean())
    half_width = float(ndtri(0.975) * relabelled.std())
    low, high = max(0.0, auroc - half_width), min(1.0, auroc + half_width)
    called_above = 1.0
    if attainable <= SHIFT_LEVEL:
        # The labels at hand count among those that reach their AUROC.
        largest = int(SHIFT_LEVEL * len(aurocs) * (1 + ROUNDING))
        called_above = max(float(np.sort(relabelled)[-largest]), 0.5 + half_width)
    if called_above >= 1:
        return BlindBaseline("too-small", auroc, low, high, p_value, None, score)
    finding: BlindFinding = "shift" if is_shift(auroc, low, p_value) else "no-shift"
    return BlindBaseline(finding, auroc, low, high, p_value, called_above, score)


def strata(design: Observational, blind_score: ArrayLike, bins: int = 5) -> Positions:
    """Return strata of class and blind score: within each class, bins of the blind score with equal counts.

    Members and controls of one stratum look alike to a classifier that never saw the target, so what differs between
    them is less likely to be a shift. A bin has room for two units of the smaller side of its class, so that labels can
    move in it; a small class is one stratum.

    Args:
        design: Members, with classes as strata.
        blind_score: (N,) score of the blind baseline, higher = looks more like a member. Images of one group and class
            share their mean score, so that they fall into one stratum.
        bins: Largest number of bins of a class; equal scores share a bin.

    Returns:
        (N,) strata, numbered from 0.

    Raises:
        ShapeError: Not one score per image.
        SettingError: A score is NaN or infinite, or bins below 1.

    References:
        Subclassification on the propensity score, Rosenbaum and Rubin 1984.
    """
    score = finite_array(blind_score, "blind_score")
    if len(score) != len(design):
        raise ShapeError(f"blind_score has {len(score)} entries, expected {len(design)}; pass one per pool image")
    at_least_one(bins, "bins")
    cell = _joint(design.stratum, design.unit_number)
    score = _means(score, cell)[cell]
    score_bin = np.empty(len(design), dtype=np.int64)
    for label in np.unique(design.stratum):
        inside = design.stratum == label
        units = np.unique(design.unit_number[inside])
        n_members = int(design.unit_member[units].sum())
        n_bins = min(bins, max(1, min(n_members, len(units) - n_members) // PER_SIDE))
        edges = np.quantile(score[inside], np.arange(1, n_bins) / n_bins)
        score_bin[inside] = np.searchsorted(edges, score[inside], side="left")
    return _joint(design.stratum, score_bin)


def _mixed_blocks(design: Observational) -> list[Positions]:
    """Return the blocks of units that may exchange labels and have both."""
    return [block for block in design.blocks if len(set(design.unit_member[block])) > 1]


def _folds(design: Observational, rng: np.random.Generator) -> Positions:
    """Return the fold of each image: whole blocks of exchangeable units, or equal shares of both sides of each.

    The fold of a whole block says nothing of labels. That of a split one says how many of its part are members, which
    relabelling within class and fold keeps.
    """
    blocks = design.blocks
    fold_of_unit = np.empty(len(design.unit_member), dtype=np.int64)
    first = 0
    for number in rng.permutation(len(blocks)):
        block = blocks[number]
        members, controls = block[design.unit_member[block]], block[~design.unit_member[block]]
        parts = 1 if len(blocks) >= FOLDS else _n_parts(min(len(members), len(controls)), alone=len(blocks) == 1)
        for side in (members, controls):
            fold_of_unit[rng.permutation(side)] = (first + np.arange(len(side)) % parts) % FOLDS
        first += parts
    return fold_of_unit[design.unit_number]


def _n_parts(smaller: int, *, alone: bool) -> int:
    """Return into how many parts to split a block with so many units on its smaller side.

    Each has room for two of them; but a block that is alone has to be split to be judged at all.
    """
    fewest = min(2, smaller) if alone else 1
    return min(FOLDS, max(fewest, smaller // PER_SIDE))


class _CrossFit:
    """Ridge regression of labels on features, both less their means within cells, judged on folds it did not see."""

    def __init__(self, features: Values, cell: Positions, fold: Positions) -> None:
        self.cell = cell
        self.folds = [fold == number for number in np.unique(fold)]
        centred = features - _means(features, cell)[cell]
        # What rounding leaves of a feature that is the same for all images of every cell.
        nothing = 1e-12 * np.abs(features).max(axis=0)
        self.solutions = [_ridge(centred, inside, nothing) for inside in self.folds]

    def scores(self, member: Labels) -> Values:
        """Return (N, L) scores for labellings (N, L), each image scored by a fit without its fold."""
        labels = member.astype(np.float64)
        labels -= _means(labels, self.cell)[self.cell]
        scores = np.empty_like(labels)
        for inside, (judged, solution) in zip(self.folds, self.solutions, strict=True):
            scores[inside] = judged @ (solution @ labels[~inside])
        return scores

    def aurocs(self, scores: Values, member: Labels) -> Values:
        """Return the AUROC of scores (N, L) for each of the labellings (N, L): within folds, over all comparisons."""
        wins, comparisons = np.zeros(member.shape[1]), np.zeros(member.shape[1])
        for inside in self.folds:
            n_members = member[inside].sum(axis=0)
            ranks = _ranks(scores[inside])
            wins += (ranks * member[inside]).sum(axis=0) - n_members * (n_members + 1) / 2
            comparisons += n_members * (inside.sum() - n_members)
        return wins / comparisons


def _ridge(features: Values, inside: Labels, nothing: Values) -> tuple[Values, Values]:
    """Return (n, d) features of the images inside a fold, and (d, N - n) what gives coefficients from other labels."""
    spread = features[~inside].std(axis=0)
    varies = spread > nothing
    scaled = features[:, varies] / spread[varies]
    train = scaled[~inside]
    normal = train.T @ train + PENALTY * varies.sum() * np.eye(varies.sum())
    return scaled[inside], np.linalg.solve(normal, train.T)


def _rank_within(score: Values, cell: Positions) -> Values:
    """Return the share of the images of each one's cell that score lower, ties and itself half."""
    share = np.empty(len(score))
    for number in np.unique(cell):
        inside = cell == number
        share[inside] = (_ranks(score[inside]) - 0.5) / inside.sum()
    return share


def _ranks(values: Values) -> Values:
    """Return the ranks of (N, ...) values along the first axis, from 1, ties shared."""
    from scipy.stats import rankdata  # slow to import, and few who import this package rank

    return rankdata(values, axis=0)


def _joint(first: Positions, second: Positions) -> Positions:
    """Return the number of each combination of two numbers, from 0."""
    return np.unique(np.stack([first, second]), axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _means(values: Values, cell: Positions) -> Values:
    """Return the mean over each cell of (N, ...) values."""
    sums = np.zeros((cell.max() + 1, *values.shape[1:]))
    np.add.at(sums, cell, values)
    return (sums.T / np.bincount(cell)).T
