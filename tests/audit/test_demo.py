"""The demonstration: a planted leak is found, a network that cannot leak is left alone, and it fails where not."""

import dataclasses

import pytest

from invaudit.audit import demo as demo_module
from invaudit.audit.demo import run_demo
from invaudit.runtime.errors import ControlError
from invaudit.stats import OverallVerdict

LEAK, NOTHING = OverallVerdict("leak"), OverallVerdict("no-evidence")


@pytest.fixture
def audits(monkeypatch, tmp_path):
    """Audits that say what they are told to; the networks are trained and guarded in earnest."""

    def say(leaky, clean):
        said = {"leaky": leaky, "clean": clean}

        def audit(_target, _settings, out, **_):
            return demo_module.ModelAuditResult(out, said[out.name], said[out.name], [], [])

        monkeypatch.setattr(demo_module, "audit_model", audit)
        return lambda: run_demo(tmp_path / "demo")

    return say


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leaky", "clean", "said"),
    [
        (NOTHING, NOTHING, r"planted leak was not found \(membership\)"),
        (None, NOTHING, "planted leak was not found"),
        (LEAK, LEAK, "never saw the members was called a leak"),
    ],
)
def test_a_demonstration_that_shows_the_wrong_thing_fails(audits, leaky, clean, said):
    with pytest.raises(ControlError, match=said):
        audits(leaky, clean)()


@pytest.mark.slow
def test_the_same_call_gives_the_same_bytes(audits):
    made = audits(LEAK, NOTHING)
    first = made()
    before = {file.name: file.read_bytes() for file in first.folder.iterdir()}
    assert dataclasses.replace(made(), folder=first.folder) == first
    assert {file.name: file.read_bytes() for file in first.folder.iterdir()} == before
    assert set(before) == {"members.npz", "controls.npz", "others.npz", "leaky.safetensors", "clean.safetensors"}
