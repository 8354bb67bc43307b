"""What the members of the families are tried on: the fixtures of the folders that test their modules."""

from tests.data.stored_sets import root
from tests.inversion.conftest import rng
from tests.leakage.conftest import reference, target
from tests.ood.small_trainings import splits
from tests.ood.toys import toys
from tests.similarity.conftest import make, trunks
from tests.threads import one_thread

__all__ = ["make", "one_thread", "reference", "rng", "root", "splits", "target", "toys", "trunks"]
