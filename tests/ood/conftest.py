"""The toy networks, for all tests of this folder."""

from tests.ood.toys import toys

__all__ = ["toys"]
