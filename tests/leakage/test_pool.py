import os

import numpy as np
import pytest
import torch
from PIL import Image

from invaudit.data import ImageSet, image_set, load, seeded_rng
from invaudit.leakage import make_pool, read_groups, read_pairs
from invaudit.leakage.pool import stratified
from invaudit.runtime import DataError, MissingDataError, ShapeError
from invaudit.stats import Observational, Pairs


def images(n, seed, classes=2, side=8):
    pixels = torch.randint(0, 256, (n, 1, side, side), generator=seeded_rng(seed, "pool"), dtype=torch.uint8)
    return ImageSet(f"set-{seed}", pixels, torch.arange(n) % classes)


def same(pool, position, members, controls):
    side = members if pool.design.member[position] else controls
    return torch.equal(pool.images.images[position], side.images[pool.source[position]])


def test_every_image_is_there_once_and_its_source_is_known():
    members, controls = images(30, 0), images(20, 1)
    pool = make_pool(members, controls)
    assert isinstance(pool.design, Observational)
    assert pool.design.member.sum() == 30
    assert all(same(pool, position, members, controls) for position in range(50))
    assert pool.design.stratum.tolist() == pool.images.labels.tolist()


def test_the_order_depends_on_the_images_alone():
    members, controls = images(30, 0), images(20, 1)
    pool, swapped = make_pool(members, controls), make_pool(controls, members)
    assert torch.equal(pool.images.images, swapped.images.images)
    assert np.array_equal(pool.design.member, ~swapped.design.member)


def pictures(folder, images):
    """Save images as files in a folder for each class, and return them as a set that is read from these."""
    for number, (image, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / str(label) / f"{number:03}.png")
    return load(str(folder))


def test_a_pool_that_is_drawn_holds_in_memory_what_is_drawn_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(image_set, "SMALL_BYTES", 0)
    members, controls = pictures(tmp_path / "members", images(60, 0)), pictures(tmp_path / "controls", images(30, 1))
    whole, fewer = make_pool(members, controls), np.random.default_rng(0)
    expected, blind = stratified(whole, np.random.default_rng(0), most=12)
    monkeypatch.setattr(image_set, "LIMIT_BYTES", 12 * 64)
    with pytest.raises(DataError, match="needs all images in memory"):
        make_pool(members, controls)
    drawn = make_pool(members, controls, draw=lambda design, labels: design.drawn(labels, fewer, most=12))
    pool, same_blind = stratified(drawn, fewer)
    assert torch.equal(pool.images.images, expected.images.images)
    assert torch.equal(pool.labels, expected.labels)
    assert np.array_equal(pool.source, expected.source)
    assert pool.images.files == expected.images.files
    assert np.array_equal(pool.design.stratum, expected.design.stratum)
    assert same_blind.auroc == blind.auroc


def test_pairs_are_kept_together():
    members, controls = images(30, 0), images(30, 1)
    chosen = np.array([[4, 2], [7, 9], [11, 1], [0, 0]])
    pool = make_pool(members, controls, pairs=chosen)
    assert isinstance(pool.design, Pairs)
    for number, (member, control) in enumerate(chosen):
        inside = pool.design.pair == number
        assert set(zip(pool.design.member[inside], pool.source[inside], strict=True)) == {
            (True, member),
            (False, control),
        }
    assert all(same(pool, position, members, controls) for position in range(8))


def test_an_image_that_is_both_is_refused_or_dropped_with_its_pair():
    members, controls = images(10, 0), images(10, 1)
    controls.images[4] = members.images[2]
    with pytest.raises(DataError, match="the first is member 2"):
        make_pool(members, controls)
    pool = make_pool(members, controls, drop_duplicates=True)
    assert (pool.dropped, len(pool.design)) == (2, 18)
    pairs = np.stack([np.arange(10), np.arange(10)], 1)
    pool = make_pool(members, controls, pairs=pairs, drop_duplicates=True)
    assert len(pool.design) == 16
    assert not {2, 4} & set(pool.design.pair)


def test_of_copies_on_one_side_one_stays():
    members, controls = images(10, 0), images(10, 1)
    members.images[[4, 6]] = members.images[2].clone()
    pool = make_pool(members, controls)
    assert (pool.dropped, len(pool.design)) == (2, 18)
    assert sorted(pool.source[pool.design.member]) == [0, 1, 2, 3, 5, 7, 8, 9]


@pytest.mark.parametrize("side", ["member", "control"])
def test_pairs_that_share_an_image_are_refused_or_dropped(side):
    members, controls = images(10, 0), images(10, 1)
    chosen = members if side == "member" else controls
    chosen.images[4] = chosen.images[2].clone()
    pairs = np.stack([np.arange(10), np.arange(10)], 1)
    with pytest.raises(DataError, match="in several pairs, the first in pair 2"):
        make_pool(members, controls, pairs=pairs)
    pool = make_pool(members, controls, pairs=pairs, drop_duplicates=True)
    assert (pool.dropped, len(pool.design)) == (4, 16)
    assert not {2, 4} & set(pool.design.pair)


def test_all_members_and_controls_are_tested_in_strata_within_classes():
    pool = make_pool(images(60, 0), images(31, 1))
    tested, blind = stratified(pool, np.random.default_rng(0))
    assert len(blind.score) == len(tested.design) == 91
    labels = tested.images.labels.numpy()
    assert all(len(set(labels[tested.design.stratum == stratum])) == 1 for stratum in set(tested.design.stratum))
    fewer, _ = stratified(pool, np.random.default_rng(0), most=10)
    assert (fewer.n_members, fewer.n_control) == (10, 10)


def test_groups_move_together_through_pool_and_strata():
    members, controls = images(60, 0, classes=1), images(45, 1, classes=1)
    groups = np.arange(60) // 3, 100 + np.arange(45) // 3
    pool = make_pool(members, controls, groups=groups)
    for position, group in enumerate(pool.design.group):
        assert group == groups[0 if pool.design.member[position] else 1][pool.source[position]]
    tested, _ = stratified(pool, np.random.default_rng(0), most=30)
    member, group = tested.design.member, tested.design.group
    assert (member.sum(), (~member).sum()) == (30, 30)
    assert set(np.unique(group, return_counts=True)[1]) == {3}
    assert all(len(set(tested.design.stratum[group == one])) == 1 for one in set(group))
    with pytest.raises(DataError, match="groups beside pairs"):
        make_pool(members, controls, groups=groups, pairs=np.array([[0, 0]]))


def test_a_file_of_groups(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("side,index,group\ncontrol,0,ann\nmember,1,bob\nmember,0,cat\nmember,2,bob\n")
    mine, theirs = read_groups(path, 3, 1)
    assert mine[1] == mine[2]
    assert len({*mine, *theirs}) == 3


@pytest.mark.parametrize(
    "text",
    ["", "side,index,group\nmember,0\ncontrol,0,b\n", "index,group,side\n0,a\n0,b,control\n",
     "side,index,group\nmember,0,\ncontrol,0,b\n", "side,index,group\nmember,0,ann\ncontrol,0,ann\n",
     "side,index\nmember,0\ncontrol,0\n", "side,index,group\nmember,0,a\n",
     "side,index,group\nmember,0,a\ncontrol,x,b\n", "side,index,group\nmember,0,a\nmember,0,b\ncontrol,0,b\n"],
)  # fmt: skip
def test_a_malformed_file_of_groups_is_refused(tmp_path, text):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"groups\.csv"):
        read_groups(path, 1, 1)
    with pytest.raises(MissingDataError, match="nowhere"):
        read_groups(tmp_path / "nowhere.csv", 1, 1)


@pytest.mark.parametrize(
    ("controls", "pairs", "error", "words"),
    [
        (images(5, 1, side=9), None, ShapeError, "in one size"),
        (ImageSet("x", images(5, 1).images, torch.full((5,), -1)), None, DataError, "labels for both"),
        (images(5, 1), [[0, 5]], DataError, "positions from 0 to 4"),
        (images(5, 1), [[0, 1]], DataError, "two classes"),
        (images(5, 1), [[0, 0], [0, 2]], DataError, "member twice"),
        (images(5, 0), None, DataError, "both member and control"),
    ],
)
def test_a_pool_that_does_not_fit_is_refused(controls, pairs, error, words):
    with pytest.raises(error, match=words):
        make_pool(images(5, 0), controls, pairs=None if pairs is None else np.array(pairs))


def test_a_file_of_pairs(tmp_path):
    path, made = tmp_path / "pairs.csv", tmp_path / "made.npz"
    path.write_text("member,control\n3,1\n0,2\n")
    made.write_bytes(b"x")
    os.utime(path, (1, 1))
    assert read_pairs(path, made_before=made).tolist() == [[3, 1], [0, 2]]
    os.utime(made, (0, 0))
    with pytest.raises(DataError, match="before training"):
        read_pairs(path, made_before=made)


@pytest.mark.parametrize("text", ["", "member,control\n", "a,b\n1,2\n", "member,control\n1,x\n", "member,control\n1\n"])
def test_a_malformed_file_of_pairs_is_refused(tmp_path, text):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"pairs\.csv"):
        read_pairs(path)


def test_a_missing_file_of_pairs_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere"):
        read_pairs(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "with a byte order mark, as Excel writes it"])
def test_files_of_pairs_and_groups(start, tmp_path):
    pairs, groups = tmp_path / "pairs.csv", tmp_path / "groups.csv"
    pairs.write_text(f"{start}member,control\n2,0\n 1 ,3\n", encoding="utf-8")
    groups.write_text(f"{start}side,index,group\nmember,0,a\nmember,1,b\ncontrol,0,c\n", encoding="utf-8")
    assert read_pairs(pairs).tolist() == [[2, 0], [1, 3]]
    assert [side.tolist() for side in read_groups(groups, 2, 1)] == [[0, 1], [2]]
