"""How a search for inputs ended, in one word."""

from collections.abc import Iterable
from typing import Literal, get_args

Outcome = Literal["given", "converged", "budget", "uninformative", "collapsed", "diverged"]
"""From best to worst.

``given``: the images were read from a file, so nothing is known about their search. ``converged``: the target gives the
images of every class their class, as often as was wanted. ``budget``: all steps are used up, and it does not.
``uninformative``: it does, but the images show nothing of their classes, see ``inversion.gallery_judgement``.
``collapsed``: the images are copies of one another, or say nothing. ``diverged``: a number was not finite.
"""


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst of several outcomes, e.g. of all restarts."""
    return max(outcomes, key=get_args(Outcome).index)
