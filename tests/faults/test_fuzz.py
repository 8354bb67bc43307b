import pytest

from tests.faults.fuzz import KINDS, fuzz

pytestmark = pytest.mark.slow
EACH = 30


@pytest.mark.parametrize("kind", KINDS)
def test_changed_inputs_are_taken_or_refused_by_an_error_of_ours(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fuzz(kind, EACH, 0, tmp_path) == []
