"""Whole numbers as people write them: plain digits, and no larger than every part of the program keeps exactly."""

import re

LARGEST = 2**53
"""Largest whole number that is taken anywhere: JSON and float64 keep no larger ones exactly."""


def whole_number(text: str) -> int | None:
    """Return a text of plain digits as a number from 0 to `LARGEST`; None for anything else.

    ``int`` takes more than people mean: signs, spaces, underscores, digits of any script; and raises on 5000 digits.

    Example:
        >>> whole_number("28"), whole_number("1_0"), whole_number("²"), whole_number("9" * 5000)
        (28, None, None, None)
    """
    if not re.fullmatch(r"[0-9]{1,16}", text):
        return None
    number = int(text)
    return number if number <= LARGEST else None
