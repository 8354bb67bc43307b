"""``invaudit demo`` from outside."""

import json

import pytest


@pytest.mark.slow
def test_the_demonstration_finds_the_planted_leak_alone(called, tmp_path):
    done = called("demo", "--out", "demo", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for question in ("membership", "reconstruction"):
        assert report["leaky"][question]["verdict"] == "leak"
        assert report["clean"][question]["verdict"] != "leak"
    assert report["rejected"] > 0.5
    assert (tmp_path / "demo" / "leaky" / "report.html").exists()
