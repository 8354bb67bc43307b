"""Without ``--images full`` no file of an audit holds a member or nearly one: killed runs included."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch

from invaudit.audit import ModelAuditSettings, attack_parts, audit_model, gallery, model_audit, planning
from invaudit.data import load, seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.runtime.errors import Interrupted
from tests.audit.galleries import quick_gallery
from tests.audit.image_files import save_digits

KNOWN = TargetRecipe(arch="mlp-100", learning_rate=0.3, steps=1500, weight_decay=1e-3)
METHODS = {
    "kkt": {"kind": "kkt", "settings": {"images": 40, "restarts": 1, "steps": 600}},
    "deepinversion": {"kind": "deepinversion", "settings": {"images": 20, "steps": 20}},
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    save_digits(folder, "privacy", {"members": slice(40), "controls": slice(40, 400)})
    return folder


@pytest.fixture(scope="module")
def target(made):
    images = load(f"{made}/members.npz")
    return train_target(KNOWN, images.floats(), images.labels, 10, seeded_rng(0, "trained")).eval()


def audit(made, target, out, **changes):
    settings = {
        "members": f"{made}/members.npz",
        "controls": f"{made}/controls.npz",
        "metrics": {"ssim": None},
        "methods": METHODS,
        "known_leak": KNOWN,
        "draws": 499,
        "budget": 0,
        "device": "cpu",
    }
    return audit_model(target, ModelAuditSettings.model_validate(settings | changes), out)


def contents(folder):
    """Yield every file of a folder as bytes, and what is packed in it; and every array in these."""
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        content = file.read_bytes()
        yield file, content, None
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    packed = archive.read(name)
                    array = np.load(io.BytesIO(packed)) if name.endswith(".npy") else None
                    yield file, packed, array


def standardised(images):
    flat = images.reshape(len(images), -1).astype(np.float64)
    centred = flat - flat.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def found_in(folder, members):
    """Return the files that hold a member byte by byte, or numbers that are nearly one (correlation of 0.9)."""
    known, patterns = standardised(members), []
    for member in members:
        patterns += [member.tobytes(), *((member / 255).astype(kind).tobytes() for kind in ("float32", "float64"))]
    found = set()
    for file, content, array in contents(folder):
        if any(pattern in content for pattern in patterns):
            found.add(file.name)
        pixels = members[0].size
        if array is not None and array.dtype.kind in "fiu" and array.size >= pixels and array.size % pixels == 0:
            candidates = array.reshape(-1, pixels)
            if np.isfinite(candidates).all() and (standardised(candidates) @ known.T).max() >= 0.9:
                found.add(file.name)
    return found


@pytest.fixture(scope="module")
def members(made):
    return load(f"{made}/members.npz").images.numpy()


def pictures_in(folder):
    """Return the files of a folder that hold pictures by their shape, and those that are named after a gallery."""
    found = set()
    for file, _, array in contents(folder):
        if (array is not None and array.ndim >= 3) or "gallery" in file.name:
            found.add(file.name)
    return found


def test_a_finished_audit_holds_no_member_and_no_gallery(made, target, members, tmp_path, monkeypatch):
    def searched(*_args, **_kwargs):
        pytest.fail("a gallery was searched for, or its cost timed")

    monkeypatch.setattr(planning, "gallery_cost", searched)
    monkeypatch.setattr(model_audit, "make_gallery", searched)
    result = audit(made, target, tmp_path / "run")
    assert result.reconstruction.verdict == "leak"  # so there are near copies to find
    assert not found_in(result.folder, members)
    assert not pictures_in(result.folder)
    assert "gallery" not in json.loads((result.folder / "audit.json").read_text())
    assert "looks like to the model" not in (result.folder / "report.html").read_text()


def test_where_pictures_are_asked_for_the_search_finds_them(made, target, members, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "gallery_settings", quick_gallery)
    result = audit(made, target, tmp_path / "run", images="full")
    assert {"images.npz", "kkt.npz"} <= found_in(result.folder, members)
    assert {"images.npz", "kkt.npz", "gallery.npz", "gallery.png", "gallery.json"} <= pictures_in(result.folder)


@pytest.mark.parametrize("n", [1, 2])
def test_a_killed_audit_holds_no_member(made, target, members, tmp_path, killed_after, n):
    killed_after(attack_parts, n)
    with pytest.raises(Interrupted):
        audit(made, target, tmp_path / "run")
    assert not found_in(tmp_path / "run", members)


def test_a_search_that_is_stopped_leaves_nothing(made, target, members, tmp_path, monkeypatch):
    def stopped(*_args, **_kwargs):
        raise KeyboardInterrupt

    before = torch.optim.Adam.step
    steps = []

    def step(self, *args):
        steps.append(1)
        return before(self, *args) if len(steps) < 250 else stopped()

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(Interrupted):
        audit(made, target, tmp_path / "run")
    assert not found_in(tmp_path / "run", members)
