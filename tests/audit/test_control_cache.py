"""The cache of attack controls gives back what was kept, and nothing for anything else."""

import pytest

from invaudit.audit import ModelAuditSettings
from invaudit.audit.control_cache import CACHE, ControlCache
from invaudit.audit.pools import coin_pool
from invaudit.data import load, seeded_rng
from invaudit.leakage import RECIPES
from invaudit.records import AuditRecord, MethodOutcome, TargetDescription

RECORD = AuditRecord(target=TargetDescription(design="pairs"), methods={"kkt": MethodOutcome(n=3, seconds=1.5)})


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path))

    def of(recipe="mlp", seed=0, metrics=("ssim",), **changes):
        settings = ModelAuditSettings.model_validate({"members": "a", "controls": "b"} | changes)
        pool, _ = coin_pool(load("digits@0:400"), 20, seeded_rng(seed, "pool"))
        return ControlCache.of(RECIPES[recipe], pool, settings, seed, metrics)

    return of


def test_what_was_kept_comes_back(place):
    assert place().read() is None
    place().write(RECORD, {"kkt.npz": b"figures"})
    assert place().read() == (RECORD, {"kkt.npz": b"figures"})
    assert place(members="c").read() is not None  # the audited model has no part in it
    for other in (place(recipe="mlp-adam"), place(seed=1), place(draws=99_999), place(metrics=("ssim", "lpips-alex"))):
        assert other.read() is None


def test_a_control_that_failed_is_not_kept(place):
    failed = MethodOutcome(status="failed", reason="not trained")
    place().write(RECORD.model_copy(update={"methods": {"kkt": failed}}), {})
    assert place().read() is None


def test_where_pictures_are_kept_nothing_is_cached(place):
    assert place(images="full").folder is None


def test_a_damaged_cache_is_done_without(place):
    place().write(RECORD, {})
    (place().folder / "records" / "record.json").write_text("{")
    assert place().read() is None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    place().write(RECORD, {})
    assert place().read() is None
