"""A number with its interval."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and where both come from.

    Attributes:
        value: The estimate itself.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of images behind it.
        method: How the interval was made, in words.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
