"""What every function here asks of its arrays and counts."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invaudit.runtime.errors import SettingError, ShapeError


def finite_array(values: ArrayLike, name: str, ndim: int = 1) -> NDArray[np.float64]:
    """Return the values as a finite, non-empty float64 array.

    Args:
        values: Numbers with ``ndim`` dimensions.
        name: What the caller calls them, for the message.
        ndim: Number of dimensions that is expected.

    Returns:
        The same numbers, float64.

    Raises:
        ShapeError: They are empty, not numbers, or have another number of dimensions.
        SettingError: One of them is NaN or infinite.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"{name} is not an array of numbers ({error}); pass real numbers in {ndim} dimensions"
        ) from error
    if array.ndim != ndim:
        raise ShapeError(f"{name} has shape {array.shape}, expected {ndim} dimension(s); pass one number per item")
    if array.size == 0:
        raise ShapeError(f"{name} is empty, expected at least one value; leave this set out")
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise SettingError(f"{name} has {bad} of {array.size} values that are NaN or infinite; fix what computed them")
    return array


def at_least_one(value: int, name: str) -> int:
    """Return a count if it is positive.

    Args:
        value: The count.
        name: What the caller calls it, for the message.

    Returns:
        The count.

    Raises:
        SettingError: It is below 1.
    """
    if value < 1:
        raise SettingError(f"{name} is {value}, expected at least 1; pass a positive count")
    return value
