"""Where two classes are level: log-odds of the two, of all others against them, and where on a way they are 0."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from invaudit.explain.borders import LEAST_PROBABILITY

HALVINGS = 24
"""Of the way across a border: what is left of it is shorter than float32 can tell."""
AIM = (1 + 2 * LEAST_PROBABILITY) / 2
"""Wanted probability of the two classes together, half-way between what is asked for and certainty."""
OTHERS_AIM = math.log((1 - AIM) / AIM)
"""The same as log-odds of all others against the two."""


def log_odds(logits: Tensor, pairs: Tensor) -> Tensor:
    """Return log p_a - log p_b (N,) for logits (N, K) and pairs (N, 2)."""
    first, second = logits.gather(1, pairs).unbind(1)
    return first - second


def others_odds(logits: Tensor, pairs: Tensor) -> Tensor:
    """Return the log-odds (N,) of all other classes against the two together; -inf where there are no others."""
    others = logits.scatter(1, pairs, -math.inf)
    if others.shape[1] == 2:
        return others[:, 0]
    return others.logsumexp(1) - logits.gather(1, pairs).logsumexp(1)


def crossing(odds_at: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Return where between 0 (``start``) and 1 odds change their sign, (N,); 1 where they do not."""
    low, high, sign = start, torch.ones_like(start), odds_at(start).sign()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_before = odds_at(middle).sign() == sign
        low, high = torch.where(is_before, middle, low), torch.where(is_before, high, middle)
    return (low + high) / 2
