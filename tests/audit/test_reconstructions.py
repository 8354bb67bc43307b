import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from invaudit.audit import ScoreSettings, score
from invaudit.data import load, seeded_rng
from invaudit.leakage import degraded_copies, unrelated
from invaudit.runtime import InputError
from invaudit.runtime.executor import ExecutorChoice
from invaudit.similarity import make_metric, pairwise
from tests.audit.image_files import save, save_digits

pytestmark = pytest.mark.slow

SSIM = {"ssim": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Members, controls, reference, copies of members, and images that have nothing to do with any."""
    folder = tmp_path_factory.mktemp("made")
    parts = {"members": slice(200), "controls": slice(200, 500), "reference": slice(1200, 1700)}
    data = save_digits(folder, "made", parts)
    copies = degraded_copies(data.floats(slice(40)), seeded_rng(0, "copies"), blur=0.5, noise=0.05)
    save(folder / "copies.npz", copies, data.labels[:40])
    save(folder / "others.npz", unrelated(data.floats(parts["reference"]), 40, seeded_rng(0, "others")))
    return folder


def settings(made, **changes):
    known = {name: f"{made}/{name}.npz" for name in ("members", "controls", "reference")} | {"metrics": SSIM}
    return ScoreSettings.model_validate({"reconstructions": f"{made}/copies.npz", "draws": 1999, **known, **changes})


@pytest.fixture(scope="module")
def leaking(made, tmp_path_factory):
    return score(settings(made), tmp_path_factory.mktemp("score") / "run").folder


def test_copies_of_members_are_a_leak(leaking):
    row = pd.read_csv(leaking / "table.csv").iloc[0]
    assert (row["verdict"], row["design"], row["status"]) == ("leak", "observational", "ok")
    assert (row["n_members"], row["n_control"]) == (200, 300)  # all of them
    assert json.loads((leaking / "audit.json").read_text())["targets"][0]["verdict"] == "leak"
    assert "leak" in (leaking / "report.html").read_text()


def test_unrelated_images_are_no_leak_and_without_an_attack_control_no_proof_of_none(made, tmp_path):
    folder = score(settings(made, reconstructions=f"{made}/others.npz"), tmp_path / "run").folder
    row = pd.read_csv(folder / "table.csv").iloc[0]
    assert (row["verdict"], row["verdict_reason"]) == ("inconclusive", "no-control")


def test_neighbours_are_those_of_brute_force_over_all_images(made, leaking):
    rows = pd.read_csv(leaking / "neighbours.csv")
    found = load(f"{made}/copies.npz").floats()
    for name in ("member", "control"):
        values = pairwise(found, load(f"{made}/{name}s.npz").floats(), make_metric("ssim"))
        assert rows[name].tolist() == values.argmax(1).tolist()
        assert rows[f"similarity_{name}"].to_numpy() == pytest.approx(values.max(1).values.numpy(), abs=1e-12)


@pytest.mark.slow
def test_shards_that_are_searched_in_processes_give_the_same_bytes(made, leaking, tmp_path):
    found = score(settings(made), tmp_path / "run", executor=ExecutorChoice("processes", workers=2)).folder
    for name in ("neighbours.csv", "membership.csv"):
        assert (found / name).read_bytes() == (leaking / name).read_bytes()


def test_pairs_from_a_file(made, tmp_path):
    members, controls = load(f"{made}/members.npz"), load(f"{made}/controls.npz")
    lines, free = ["member,control"], dict.fromkeys(range(len(controls)))
    for member, label in enumerate(members.labels.tolist()):
        control = next((one for one in free if int(controls.labels[one]) == label), None)
        if control is not None:
            del free[control]
            lines.append(f"{member},{control}")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("\n".join(lines))
    with pytest.raises(InputError, match="before training"):
        score(settings(made, pairs=pairs), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    os.utime(pairs, (0, 0))
    row = pd.read_csv(score(settings(made, pairs=pairs), tmp_path / "run").folder / "table.csv").iloc[0]
    assert (row["design"], row["n_members"], row["verdict"]) == ("pairs", len(lines) - 1, "leak")


def test_what_used_members_concludes_nothing(made, tmp_path):
    folder = score(settings(made, used_members=True), tmp_path / "run").folder
    assert pd.read_csv(folder / "table.csv")["verdict_reason"].tolist() == ["exploratory"]


def test_the_member_mean_does_not_make_a_leak(made, tmp_path):
    mean = load(f"{made}/members.npz").floats().mean(0, keepdim=True)
    images = (mean + 0.02 * torch.randn(100, 1, 8, 8, generator=seeded_rng(0, "mean"))).clamp(0, 1)
    save(tmp_path / "mean.npz", images)
    folder = score(settings(made, reconstructions=f"{tmp_path}/mean.npz"), tmp_path / "run").folder
    assert pd.read_csv(folder / "table.csv")["verdict"].tolist() != ["leak"]


def test_without_images_no_pixel_is_kept_and_with_them_they_are(made, leaking, tmp_path):
    given = [load(f"{made}/{name}.npz").images for name in ("members", "controls", "copies")]
    forms = [image.numpy().tobytes() for image in torch.cat(given)]
    for path in leaking.rglob("*"):
        if path.suffix == ".npz":
            with np.load(path) as file:
                content = b"".join(array.tobytes() for array in dict(file).values())
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        assert not any(form in content for form in forms), path
    folder = score(settings(made, images="full"), tmp_path / "run").folder
    with np.load(next(folder.rglob("images.npz"))) as file:
        assert any(form in file["images"].tobytes() for form in forms)


def test_the_same_audit_twice_gives_the_same_bytes(made, leaking, tmp_path):
    folder = score(settings(made), tmp_path / "run").folder
    for name in ("membership.csv", "neighbours.csv"):
        assert (folder / name).read_bytes() == (leaking / name).read_bytes()
    first, second = (pd.read_csv(one / "table.csv").drop(columns="seconds") for one in (folder, leaking))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_copies_of_images_of_few_groups_are_few_units(made, tmp_path):
    with np.load(made / "members.npz") as members, np.load(made / "controls.npz") as controls:
        labels = {"member": members["labels"], "control": controls["labels"]}
    lines = ["side,index,group"]
    for side, classes in labels.items():
        place = np.argsort(np.argsort(classes, kind="stable")) - np.searchsorted(np.sort(classes), classes)
        lines += [f"{side},{i},{side}-{classes[i]}-{place[i] // 5}" for i in range(len(classes))]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    folder = score(settings(made, groups=tmp_path / "groups.csv"), tmp_path / "run").folder
    row = pd.read_csv(folder / "table.csv").iloc[0]
    with np.load(folder / "scores/seed-0/target/pool.npz") as pool:
        n_groups = len(np.unique(pool["unit"]))
    assert n_groups <= (row["n_members"] + row["n_control"]) / 4
    assert row["distinct_hits"] <= n_groups


def test_groups_of_near_copies_are_tested_too(made, tmp_path):
    rng = seeded_rng(0, "alike")
    for name, start in (("members", 0), ("controls", 40)):
        ones = load(f"{made}/members.npz").floats(slice(start, start + 40)).repeat_interleave(16, 0)
        save(tmp_path / f"{name}.npz", (ones + 0.03 * torch.randn(ones.shape, generator=rng)).clamp(0, 1))
    lines = ["side,index,group"]
    lines += [f"{side},{i},{side}-{i // 16}" for side in ("member", "control") for i in range(640)]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    given = {name: f"{tmp_path}/{name}.npz" for name in ("members", "controls")}
    changes = {**given, "groups": tmp_path / "groups.csv", "reconstructions": f"{made}/copies.npz@0:10", "draws": 199}
    row = pd.read_csv(score(settings(made, **changes), tmp_path / "run").folder / "table.csv").iloc[0]
    assert row["status"] == "ok"
    assert row["distinct_hits"] <= 10


def test_without_classes_of_the_pool_those_of_the_reconstructions_say_nothing(made, tmp_path):
    for name in ("members", "controls", "copies"):
        save(tmp_path / f"{name}.npz", load(f"{made}/{name}.npz").floats())
    pool = {name: f"{tmp_path}/{name}.npz" for name in ("members", "controls")}
    scores = []
    for folder, copies in ((made, "labelled"), (tmp_path, "not")):
        given = {**pool, "reconstructions": f"{folder}/copies.npz", "draws": 99}
        rows = pd.read_csv(score(settings(made, **given), tmp_path / copies).folder / "membership.csv").set_index(
            "score"
        )
        scores.append(rows.loc["given:ssim", "auroc"])
    assert scores[0] == scores[1] > 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"members": "nowhere"}, "nowhere"),
        ({"members": "digits", "controls": "digits"}, "both member and control"),
        ({"controls": "digits@0:99999"}, "past the end|99999"),
        ({"pairs": "nowhere.csv"}, "nowhere.csv"),
        ({"metrics": {"ssim": 4}}, "at least 5"),
        ({"groups": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(made, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        score(settings(made, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_too_small_for_a_metric_are_refused_before_anything_is_written(tmp_path):
    for number, name in enumerate(("reconstructions", "members", "controls")):
        small = torch.rand(30, 1, 4, 4, generator=seeded_rng(number, "small"))
        save(tmp_path / f"{name}.npz", small, torch.arange(30) % 3)
    given = {name: f"{tmp_path}/{name}.npz" for name in ("reconstructions", "members", "controls")}
    with pytest.raises(InputError, match="sides of at least 5"):
        score(ScoreSettings.model_validate({**given, "metrics": SSIM}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_members_and_controls_of_other_classes_are_refused_before_anything_is_written(made, tmp_path):
    for name, classes in (("members", (0, 1)), ("controls", (2, 3))):
        images = load(f"{made}/{name}.npz")
        kept = torch.isin(images.labels, torch.tensor(classes)).nonzero()[:, 0]
        save(tmp_path / f"{name}.npz", images.floats(kept), images.labels[kept])
    given = {name: f"{tmp_path}/{name}.npz" for name in ("members", "controls")}
    with pytest.raises(InputError, match="no class has both members and controls"):
        score(settings(made, **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_shift_between_members_and_controls_is_inconclusive(made, tmp_path):
    # The digits are sorted by writer: the first two hundred and the next three hundred are not exchangeable.
    changes = {"members": "digits@0:200", "controls": "digits@200:500"}
    folder = score(settings(made, reconstructions=f"{made}/others.npz", **changes), tmp_path / "run").folder
    row = pd.read_csv(folder / "table.csv").iloc[0]
    assert (row["verdict"], row["verdict_reason"]) == ("inconclusive", "shift")
    assert row["blind_auroc"] >= 0.6
    assert row["blind_p"] <= 0.01


def test_the_nearest_images_are_named_by_their_files_and_classes(made, tmp_path):
    images = load("digits")
    for name, label in (("eight", 8), ("one", 1)):
        for index, image in enumerate(images.images[images.labels == label][:80, 0].numpy()):
            place = tmp_path / ("members" if index % 2 else "controls") / name
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{index}.png")
    copies = load(f"{tmp_path}/members/")
    save(tmp_path / "copies.npz", copies.floats(), copies.labels)
    given = {name: f"{tmp_path}/{name}" for name in ("members", "controls")}
    changes = {"reconstructions": f"{tmp_path}/copies.npz", "reference": None, "images": "full", **given}
    folder = score(settings(made, **changes), tmp_path / "run").folder
    rows = pd.read_csv(folder / "neighbours.csv")
    assert rows["member_file"].tolist() == list(copies.files)
    assert rows["class_name"].tolist() == [copies.class_names[label] for label in copies.labels]
    assert set(rows["control_file"]) <= set(load(given["controls"]).files)
    with np.load(folder / "scores" / "seed-0" / "target" / "pool.npz") as pool:
        assert pool["class_names"].tolist() == ["eight", "one"]
        for member, file in zip(pool["member"], pool["files"], strict=True):
            assert ("/members/" if member else "/controls/") in file
