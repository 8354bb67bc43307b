"""An attack control lets an audit say that it found nothing, unless the attack misses a leak that is there."""

import json
import shutil

import pandas as pd
import pytest
import torch

from invaudit.audit import AttackControlSettings, ScoreSettings, attack_control, make_attack_control, score
from invaudit.data import load, seeded_rng
from invaudit.leakage import degraded_copies, reconstruct, unrelated
from invaudit.models import checkpoints, collect, load_model
from invaudit.runtime import ConfigError, InputError, load_config
from tests.audit.image_files import save, save_digits

pytestmark = pytest.mark.slow

SMALL = {"recipe": {"arch": "mlp-40", "steps": 400}, "members": 20, "device": "cpu"}
ATTACK = {"method": "kkt", "settings": {"images": 10, "restarts": 2, "steps": 6, "record_every": 2}}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Members, controls and images that have nothing to do with either."""
    folder = tmp_path_factory.mktemp("pool")
    parts = {"members": slice(120), "controls": slice(120, 240), "reference": slice(240, 600)}
    data = save_digits(folder, "attack-control", parts)
    others = unrelated(data.floats(parts["reference"]), 40, seeded_rng(0, "others"))
    save(folder / "others.npz", others, torch.arange(40) % 10)
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """An attack control that waits for the images of an attack of one's own."""
    return make_attack_control(AttackControlSettings.model_validate(SMALL), tmp_path_factory.mktemp("foreign") / "run")


def attacked(foreign, folder, *, finds):
    """The same control after an attack that finds members, or images that have nothing to do with them."""
    shutil.copytree(foreign.folder, folder)
    members, reference = load(f"{folder}/members.npz"), load(f"{folder}/reference.npz").floats()
    copies = degraded_copies(members.floats(), seeded_rng(0, "copies"), blur=0.3, noise=0.02)
    images = copies if finds else unrelated(reference, 20, seeded_rng(0, "nothing"))
    save(folder / "reconstructions.npz", images, members.labels)
    return folder


def settings(pool, **changes):
    data = {name: f"{pool}/{name}.npz" for name in ("members", "controls", "reference")}
    rule = {"metrics": {"ssim": None, "cosine": None}, "draws": 1999}
    return ScoreSettings.model_validate({**data, **rule, "reconstructions": f"{pool}/others.npz", **changes})


@pytest.mark.parametrize(
    ("finds", "verdict"), [(True, ("no-evidence", None)), (False, ("inconclusive", "attack-failed"))]
)
def test_silence_counts_where_the_attack_finds_the_known_leak(pool, foreign, tmp_path, finds, verdict):
    control = attacked(foreign, tmp_path / "control", finds=finds)
    result = score(settings(pool, attack_control=control), tmp_path / "run")
    assert {(row.verdict, row.verdict_reason) for row in result.rows} == {verdict}
    assert result.verdict.verdict == verdict[0]
    assert result.advice is None
    origin = "reconstructions that were given, of a network that invaudit trained on digits"
    assert json.loads((result.folder / "audit.json").read_text())["scope"]["attack control"] == origin
    assert origin in (result.folder / "report.html").read_text()
    rows = pd.read_csv(result.folder / "controls.csv")
    assert rows["kind"].tolist() == ["attack", "attack"]
    assert rows["metric"].tolist() == ["ssim", "cosine"]
    assert (rows["verdict"] == "leak").any() == finds
    assert "attack-control" in {path.name for path in (result.folder / "scores/seed-0").iterdir()}


def test_a_leak_is_a_leak_whatever_the_control_says(pool, foreign, tmp_path):
    control = attacked(foreign, tmp_path / "control", finds=False)
    (control / "records" / "run.json").unlink()
    members = load(f"{pool}/members.npz")
    copies = degraded_copies(members.floats(slice(40)), seeded_rng(0, "copies"), blur=0.3, noise=0.02)
    save(tmp_path / "copies.npz", copies, members.labels[:40])
    changes = {"attack_control": control, "reconstructions": f"{tmp_path}/copies.npz"}
    result = score(settings(pool, **changes), tmp_path / "run")
    assert result.verdict.verdict == "leak"
    scope = json.loads((result.folder / "audit.json").read_text())["scope"]
    assert scope["attack control"] == "reconstructions that were given"


def test_without_a_control_the_advice_and_the_report_name_the_command(pool, tmp_path):
    result = score(settings(pool), tmp_path / "run")
    assert result.verdict == ("inconclusive", ("no-control",))
    assert "invaudit leakage attack-control --method" in result.advice
    assert "invaudit leakage attack-control --method" in (result.folder / "report.html").read_text()


def test_the_network_knows_its_members_and_pairs_are_of_one_class(foreign):
    target = load_model(foreign.target)
    members, controls = (load(f"{foreign.folder}/{name}.npz") for name in ("members", "controls"))
    logits = collect(target, members.floats(), keep_maps=False).logits
    assert float((logits.argmax(1) == members.labels).double().mean()) >= 0.9
    pairs = pd.read_csv(foreign.folder / "pairs.csv")
    assert pairs["member"].tolist() == pairs["control"].tolist() == list(range(20))
    assert torch.equal(members.labels, controls.labels)
    assert not (foreign.folder / "reconstructions.npz").exists()
    assert str(foreign.target) in foreign.advice


def test_an_unfinished_control_is_refused_before_anything_is_written(pool, foreign, tmp_path):
    for control in (foreign.folder, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"holds no reconstructions\.npz; make one with `invaudit leakage"):
            score(settings(pool, attack_control=control), tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "ktk"}, "ktk"),
        ({"method": "kkt", "settings": {"stepps": 3}}, "did you mean 'steps'"),
        ({"members": 3}, "members"),
        ({"settings": {"steps": 5}}, "without a method"),
        ({"reference": True}, "without a method"),
    ],
)
def test_bad_settings_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        load_config(AttackControlSettings, None, (), **SMALL | changes)


@pytest.mark.parametrize(
    "changes",
    [{"data": "nowhere"}, {"members": 2000}, {"recipe": {"arch": "mlp-40", "steps": 1}}, {"recipe": {"arch": "mpl"}}],
)
def test_nothing_is_written_for_a_network_that_cannot_be_made(changes, tmp_path):
    with pytest.raises(InputError):
        make_attack_control(AttackControlSettings.model_validate(SMALL | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("reference", [False, True])
def test_the_attack_has_reference_images_only_where_the_settings_say_so(foreign, tmp_path, monkeypatch, reference):
    passed = []

    def recorded(target, method, settings, rng, *, reference, **options):
        passed.append(reference)
        return reconstruct(target, method, settings, rng, reference=reference, **options)

    monkeypatch.setattr(attack_control, "reconstruct", recorded)
    settings = AttackControlSettings.model_validate({**SMALL, **ATTACK, "reference": reference})
    folder = make_attack_control(settings, tmp_path / "run").folder
    assert (passed[0] is not None) == reference
    assert load_config(AttackControlSettings, str(folder / "config.yaml")).reference == reference
    # The cosine and the scoring limit have them either way.
    assert (folder / "reference.npz").read_bytes() == (foreign.folder / "reference.npz").read_bytes()


def test_an_attack_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, killed_after):
    settings = AttackControlSettings.model_validate(SMALL | ATTACK)
    whole = make_attack_control(settings, tmp_path / "whole").folder
    written = killed_after(checkpoints, 4)
    with pytest.raises(KeyboardInterrupt):
        make_attack_control(settings, tmp_path / "again")
    assert (tmp_path / "again" / "work").is_dir()
    names = [path.name for path in whole.iterdir() if path.suffix in (".npz", ".csv", ".safetensors")]
    assert len(names) == 6
    for _ in range(2):  # what was stopped, then what is finished
        make_attack_control(settings, tmp_path / "again", resume=True)
        for name in names:
            assert (tmp_path / "again" / name).read_bytes() == (whole / name).read_bytes(), name
        assert not (tmp_path / "again" / "work").exists()
    # 6 in all, of which the second run wrote only those that were missing; 6 once more from the beginning.
    assert len(written) == 12


def test_a_control_of_another_shape_is_refused_before_anything_is_written(pool, foreign, tmp_path):
    control = attacked(foreign, tmp_path / "control", finds=True)
    for name in ("reconstructions", "members", "controls", "reference"):
        images = load(f"{control}/{name}.npz")
        save(control / f"{name}.npz", images.floats().repeat(1, 3, 1, 1), images.labels)
    with pytest.raises(InputError, match=r"shape \(3, 8, 8\), expected \(1, 8, 8\) as the audited members; make one"):
        score(settings(pool, attack_control=control), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_audit_does_not_go_on_with_other_pairs_or_reference_images_of_the_control(pool, foreign, tmp_path):
    control = attacked(foreign, tmp_path / "control", finds=True)
    scored = settings(pool, attack_control=control, draws=99)
    score(scored, tmp_path / "run")
    score(scored, tmp_path / "run", resume=True)
    for name in ("pairs.csv", "reference.npz"):
        content = (control / name).read_bytes()
        if name == "pairs.csv":
            header, *lines = content.decode().splitlines()
            (control / name).write_text("\n".join([header, *lines[1:]]))
        else:
            images = load(f"{control}/{name}")
            save(control / name, images.floats(slice(1, None)), images.labels[1:])
        with pytest.raises(InputError, match="other settings or inputs"):
            score(scored, tmp_path / "run", resume=True)
        (control / name).write_bytes(content)
