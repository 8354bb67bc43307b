"""Membership scores from reference models: networks like the target of which is known what they were trained on.

All work on the log-odds of an image's class, phi = log(p / (1 - p)). One image is hard and the next is easy; what the
references answer for each image takes that out of the target's answer. Higher = more likely a member.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, log_ndtr, polygamma, psi, stdtr

from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.stats.checks import finite_array

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

GAMMA = 1.0
"""Ratio from which an image counts as better known than one of the population; the code of RMIA's authors has 1 too."""
OFFLINE_A = 0.3
"""The a of p_in = a p_out + 1 - a, where no image shows both; the authors of RMIA choose it for each data set."""
SMALLEST_SHARE = 1e-5
"""Of the median variance: the least that the variance of one image is taken to be, since equal answers have none."""
PRIOR_RANGE = (1e-3, 1e4)
"""Degrees of freedom of the prior; above, all images are taken to have one variance."""


class _Answers(NamedTuple):
    """Checked arrays: the target's (N,), the references' (K, N), and which of them were trained on which image."""

    target: Floats
    references: Floats
    trained_on: Flags


class _Side(NamedTuple):
    """What the references of one side, trained on an image or not, answer for it.

    Attributes:
        n: (N,) number of them.
        mean: (N,) mean of their log-odds; 0 where there are none.
        variance: (N,) variance of a single one, see ``moderated_variance``.
        freedom: (N,) its degrees of freedom.
    """

    n: Floats
    mean: Floats
    variance: Floats
    freedom: Floats


class _Gap(NamedTuple):
    """How far one side lies above the other: mean over the images, and variance of the true gaps among them."""

    mean: float
    variance: float


class _Prediction(NamedTuple):
    """Student's t of each image, (N,) each: what one more reference of a side would answer."""

    mean: Floats
    scale: Floats
    freedom: Floats


def lira_offline(target: ArrayLike, references: ArrayLike, trained_on: ArrayLike) -> Floats:
    """Return minus the log-probability that a network not trained on an image is as sure of it as the target is.

    The offline attack of the paper takes a Gaussian with the estimated mean and variance. With few
    references that is too sure of its estimates, so here one more answer is predicted: Student's t around the mean of n
    answers, with the ``moderated_variance`` times 1 + 1/n. With many references it is the paper's Gaussian. An image
    that all references were trained on takes its mean from them, less the average gap.

    Args:
        target: (N,) log-odds that the target gives the class of each image.
        references: (K, N) log-odds that each reference gives it.
        trained_on: (K, N) bool, whether a reference was trained on the image. Coins are independent for each reference
            and image, and the target is none of the references: a fixed set of models with exact halves, from which
            each serves as target in turn, makes records look more exposed than they are.

    Returns:
        (N,) score.

    Raises:
        ShapeError: Arrays that do not fit each other.
        SettingError: A value that is not finite, or every reference was trained on every image.

    References:
        Carlini et al. (arXiv 2112.03570); the predictive t: Brannvall (arXiv 2603.11799); the bias of a
        fixed set of models: Jalko et al. (arXiv 2605.25819).
    """
    answers = _checked(target, references, trained_on)
    seen, unseen = _sides(answers)
    alone = unseen.n > 0
    if not alone.any():
        raise SettingError(
            "every reference was trained on every image, expected some that were not; give other references"
        )
    gap = None if alone.all() else _gap(unseen, seen)
    out = _predicted(unseen, seen, gap, borrowing=~alone)
    return -_log_tail((answers.target - out.mean) / out.scale, out.freedom)


def lira_online(target: ArrayLike, references: ArrayLike, trained_on: ArrayLike) -> Floats:
    """Return the log-likelihood ratio of the target's answer, with training on the image against without.

    Algorithm 1 of the paper, with Student's t as in ``lira_offline``, where arguments and references are described.
    The paper estimates both means for each image by itself. With few references the distance between them is mostly
    noise, so here it is drawn towards the average gap: each side also learns from the other one, moved by the average
    gap, with the weight that the spread of true gaps over the images leaves it. With many references it is the paper's.
    So an image whose references are all of one side has a score too.

    Raises:
        ShapeError: Arrays that do not fit each other.
        SettingError: A value that is not finite, or all references are of one side for all images.
    """
    answers = _checked(target, references, trained_on)
    if answers.trained_on.all() or not answers.trained_on.any():
        raise SettingError(
            "the references were trained on all of the images, or on none; use lira_offline, or give references of "
            "both kinds"
        )
    seen, unseen = _sides(answers)
    everywhere = np.ones(len(answers.target), dtype=bool)
    inside = _predicted(seen, unseen, _gap(seen, unseen), borrowing=everywhere)
    outside = _predicted(unseen, seen, _gap(unseen, seen), borrowing=everywhere)
    return _log_density(answers.target, inside) - _log_density(answers.target, outside)


def rmia(
    target: ArrayLike,
    references: ArrayLike,
    trained_on: ArrayLike,
    *,
    population: ArrayLike | None = None,
    population_references: ArrayLike | None = None,
    gamma: float = GAMMA,
    a: float = OFFLINE_A,
) -> Floats:
    """Return the share of a population that the target knows less well than the image, both beside the references.

    An image's ratio is p(x | target) / p(x), where p(x) is the mean of p_in and p_out, the average probability that
    references that were trained on it, and others, give its class. Without any reference that was trained on an image
    of the pool, p_in = a p_out + 1 - a stands in. Otherwise, where one of the two is missing, it is the other one moved
    by the average difference of log-odds. The score is the share of images z of the population with
    ratio(x) / ratio(z) >= gamma.

    Args:
        target: (N,) log-odds that the target gives the class of each image.
        references: (K, N) log-odds that each reference gives it.
        trained_on: (K, N) bool, whether a reference was trained on the image.
        population: (M,) log-odds that the target gives further images, which no network was trained on. None: the N
            images are the population, members and others alike.
        population_references: (K, M) log-odds that the references give those.
        gamma: The least ratio, above 0.
        a: In [0, 1], see ``offline_a``.

    Returns:
        (N,) score in [0, 1].

    Raises:
        ShapeError: Arrays that do not fit each other.
        SettingError: A value that is not finite or outside its range.

    References:
        Zarifzadeh et al. (arXiv 2312.03262), with the offline p(x) = ((1 + a) p_out + 1 - a) / 2.
    """
    answers = _checked(target, references, trained_on)
    if not 0 < gamma < np.inf:
        raise SettingError(f"gamma is {gamma}, expected above 0")
    if not 0 <= a <= 1:
        raise SettingError(f"a is {a}, expected [0, 1]")
    if (population is None) != (population_references is None):
        raise ShapeError("population without its references, or the other way round; give both or neither")
    gap = _overall_gap(answers)
    ratio = _log_ratio(answers, gap, a)
    if population is None or population_references is None:
        of_population = ratio
    else:
        unseen = np.zeros(np.shape(population_references), dtype=bool)
        of_population = _log_ratio(_checked(population, population_references, unseen), gap, a)
    at_most = np.searchsorted(np.sort(of_population), ratio - np.log(gamma), side="right")
    return at_most / len(of_population)


def offline_a(references: ArrayLike, trained_on: ArrayLike) -> float:
    """Return the a of p_in = a p_out + 1 - a: which share of what is missing to 1 is still missing after training.

    The authors of RMIA try values on a reference in the place of the target; this is the ratio of the means of 1 - p_in
    and 1 - p_out over images on which references were trained by coins, such as their own training data.

    Args:
        references: (K, N) log-odds that each reference gives the class of each image.
        trained_on: (K, N) bool, whether it was trained on the image.

    Returns:
        In [0, 1]; ``OFFLINE_A`` where one side is missing or p_out is 1 throughout.

    Raises:
        ShapeError: Arrays that do not fit each other.
        SettingError: A value that is not finite.
    """
    answers = _checked(np.zeros(np.shape(references)[-1]), references, trained_on)
    coins, missing = answers.trained_on, expit(-answers.references)
    if not coins.any() or coins.all() or not missing[~coins].any():
        return OFFLINE_A
    return float(min(missing[coins].mean() / missing[~coins].mean(), 1.0))


def moderated_variance(squares: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """Return the variance of each image, drawn towards that of all, with its degrees of freedom.

    The variances of the images are taken to be scaled inverse chi-square around s0^2 with d0 degrees of freedom, both
    estimated from the spread of the log-variances. An image with d degrees of freedom has the posterior variance
    (d0 s0^2 + squares) / (d0 + d) with d0 + d. Where the variances spread no more than chance allows, d0 is infinite,
    and all images have one variance; with many answers for each image, each has its own.

    Args:
        squares: (N,) sum of squared deviations from the mean.
        freedom: (N,) degrees of freedom d, 0 where an image says nothing of its variance.

    Returns:
        (N,) variance and (N,) degrees of freedom; variance 1 where no image says anything.

    References:
        Smyth 2004, section 6.2.
    """
    own = freedom > 0
    total = squares[own].sum()
    infinite = np.full_like(squares, np.inf)
    if not total > 0:
        return np.ones_like(squares), infinite
    pooled = np.full_like(squares, total / freedom[own].sum())
    half = freedom[own] / 2
    single = squares[own] / freedom[own]
    logs = np.log(np.maximum(single, SMALLEST_SHARE * (np.median(single) or pooled[0])))
    logs += np.log(half) - psi(half)
    low, high = PRIOR_RANGE
    spread = logs.var(ddof=1) - polygamma(1, half).mean() if len(logs) > 1 else 0.0
    if spread <= polygamma(1, high / 2):
        return pooled, infinite
    prior = low
    if spread < polygamma(1, low / 2):
        from scipy.optimize import root_scalar  # takes long to import

        prior = root_scalar(lambda d: polygamma(1, d / 2) - spread, bracket=(low, high)).root
    centre = np.exp(logs.mean() + psi(prior / 2) - np.log(prior / 2))
    return (prior * centre + squares) / (prior + freedom), prior + freedom


def _checked(target: ArrayLike, references: ArrayLike, trained_on: ArrayLike) -> _Answers:
    own, others = finite_array(target, "target"), finite_array(references, "references", ndim=2)
    coins = np.asarray(trained_on)
    if others.shape[1] != len(own):
        raise ShapeError(f"references has shape {others.shape}, expected (K, {len(own)}); pass one row per reference")
    if coins.shape != others.shape or coins.dtype != bool:
        raise ShapeError(
            f"trained_on is {coins.dtype} of shape {coins.shape}, expected bool of shape {others.shape} as references"
        )
    return _Answers(own, others, coins)


def _sides(answers: _Answers) -> tuple[_Side, _Side]:
    """Return what references that were trained on an image answer, and what the others do."""
    return _side(answers, answers.trained_on), _side(answers, ~answers.trained_on)


def _side(answers: _Answers, chosen: Flags) -> _Side:
    n = chosen.sum(0).astype(np.float64)
    mean = _mean_of(answers.references, chosen)
    squares = (np.where(chosen, answers.references - mean, 0.0) ** 2).sum(0)
    return _Side(n, mean, *moderated_variance(squares, np.maximum(n - 1, 0)))


def _gap(side: _Side, other: _Side) -> _Gap:
    """Return the gap over images with references of both sides; with none of these, that of the means over all."""
    own, others = side.n > 0, other.n > 0
    both = own & others
    if not both.any():
        return _Gap(float(side.mean[own].mean() - other.mean[others].mean()), 0.0)
    gaps = (side.mean - other.mean)[both]
    noise = (side.variance / np.maximum(side.n, 1) + other.variance / np.maximum(other.n, 1))[both]
    return _Gap(float(gaps.mean()), float(max(gaps.var() - noise.mean(), 0.0)))


def _predicted(side: _Side, other: _Side, gap: _Gap | None, *, borrowing: Flags) -> _Prediction:
    """Predict one more answer of a side, for some images also from the other side moved by the gap."""
    weight = side.n / side.variance
    mean = side.mean
    if gap is not None:
        of_other = np.maximum(other.n, 1) / (other.variance + np.maximum(other.n, 1) * gap.variance)
        of_other = np.where(borrowing & (other.n > 0), of_other, 0.0)
        mean = (weight * side.mean + of_other * (other.mean + gap.mean)) / (weight + of_other)
        weight = weight + of_other
    return _Prediction(mean, np.sqrt(side.variance + 1 / weight), side.freedom)


def _log_density(values: Floats, prediction: _Prediction) -> Floats:
    from scipy.stats import norm, t  # takes long to import

    standard = (values - prediction.mean) / prediction.scale
    finite = np.isfinite(prediction.freedom)
    heavy = t.logpdf(standard, np.where(finite, prediction.freedom, 1.0))
    return np.where(finite, heavy, norm.logpdf(standard)) - np.log(prediction.scale)


def _log_tail(standard: Floats, freedom: Floats) -> Floats:
    """Return the log-probability of a larger value; of a t so far out that it rounds to 0, that of the smallest."""
    finite = np.isfinite(freedom)
    heavy = np.log(np.maximum(stdtr(np.where(finite, freedom, 1.0), -standard), np.finfo(np.float64).tiny))
    return np.where(finite, heavy, log_ndtr(-standard))


def _overall_gap(answers: _Answers) -> float | None:
    """Return how much higher the log-odds are with training than without, over all; None where one side is missing."""
    coins = answers.trained_on
    if not coins.any() or coins.all():
        return None
    return float(answers.references[coins].mean() - answers.references[~coins].mean())


def _log_ratio(answers: _Answers, gap: float | None, a: float) -> Floats:
    """Return log(p(x | target) / p(x)) of each image."""
    probability, coins = expit(answers.references), answers.trained_on
    p_in, p_out = _mean_of(probability, coins), _mean_of(probability, ~coins)
    if gap is None:
        p_in = np.where(coins.any(0), p_in, a * p_out + 1 - a)
        p_out = np.where(coins.all(0), p_in, p_out)
    else:
        moved_in = _mean_of(expit(answers.references + gap), ~coins)
        moved_out = _mean_of(expit(answers.references - gap), coins)
        p_in, p_out = np.where(coins.any(0), p_in, moved_in), np.where(coins.all(0), moved_out, p_out)
    return log_expit(answers.target) - np.log((p_in + p_out) / 2)


def _mean_of(values: Floats, chosen: Flags) -> Floats:
    """Return the mean over chosen rows of each column; 0 where there are none."""
    return np.where(chosen, values, 0.0).sum(0) / np.maximum(chosen.sum(0), 1)
