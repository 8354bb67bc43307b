"""One thread for the tests of a folder: its ``conftest.py`` imports the fixture."""

from collections.abc import Iterator

import pytest

from invaudit.models import limit_threads


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: several test processes share the cores."""
    with limit_threads(1):
        yield
