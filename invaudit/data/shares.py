"""How many images each part of a mixture gets."""

from collections.abc import Sequence


def shares_to_counts(total: int, shares: Sequence[float]) -> list[int]:
    """Return whole numbers in the proportion of shares of ``total``.

    The running ends are rounded, not each share: so shares that sum to 1 give exactly ``total``, and no more than the
    rounded sum of the shares is ever given.

    Args:
        total: Number that a share of 1 means.
        shares: Shares, each at least 0.

    >>> shares_to_counts(5, [0.5, 0.25, 0.25])
    [2, 2, 1]
    """
    counts = []
    end = 0.0
    for share in shares:
        before = round(total * end)
        end += share
        counts.append(round(total * end) - before)
    return counts


def equal_counts(total: int, kinds: Sequence[str]) -> dict[str, int]:
    """Return how many of ``total`` each kind gets: equal numbers, the first kinds one more; none at all is left out."""
    whole, extra = divmod(total, len(kinds))
    counts = {}
    for position, kind in enumerate(kinds):
        count = whole + (position < extra)
        if count:
            counts[kind] = count
    return counts
