"""The toy networks and the small training set, for all tests of this folder."""

from tests.ood.small_trainings import splits
from tests.ood.toys import toys

__all__ = ["splits", "toys"]
