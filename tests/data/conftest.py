"""An empty data folder, for all tests of this folder."""

from tests.data.stored_sets import root

__all__ = ["root"]
