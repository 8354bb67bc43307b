"""Targets of the benchmark: trained the same way twice, refused where they do not fit; pools drawn by fair coins."""

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.data.digits import digits
from invaudit.leakage.targets import RECIPES, TargetRecipe, draw_pairs, train_target
from invaudit.models import collect
from invaudit.runtime.errors import ModelError, SettingError

pytestmark = pytest.mark.slow


def members(n: int = 20, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    data = digits()
    keep = (data.labels < classes).nonzero()[:, 0][:n]
    return data.floats(keep), data.labels[keep]


QUICK = TargetRecipe(arch="mlp-30", steps=300)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "learning_rate": 1e-2},
        {"dropout": 0.2},
        {"shift": 1, "steps": 1000},
        {"first_scale": 0.01},
        {"weight_decay": 1e-3},
        {"arch": "tiny-cnn", "learning_rate": 0.1, "steps": 600},
    ],
)
def test_training_fits_and_repeats(changes):
    recipe = QUICK.model_copy(update=changes)
    images, labels = members()
    hashes = []
    for _ in range(2):
        target = train_target(recipe, images, labels, 10, seeded_rng(0, "tests/targets"))
        assert not target.training
        assert float((collect(target, images).logits.argmax(1) == labels).double().mean()) >= 0.9
        hashes.append(target.hash)
    assert hashes[0] == hashes[1]
    assert train_target(recipe, images, labels, 10, seeded_rng(1, "tests/targets")).hash != hashes[0]


def test_two_classes_have_two_logits_and_images_lose_their_mean():
    images, labels = members(classes=2)
    target = train_target(QUICK, images, labels, 2, seeded_rng(0, "tests/targets"))
    assert target.head.out_features == 2
    assert target.spec.mean == pytest.approx((float(images.mean()),))


def test_a_target_that_does_not_fit_is_refused():
    images, labels = members()
    for recipe in (QUICK.model_copy(update={"steps": 1}), QUICK.model_copy(update={"learning_rate": 1e6})):
        with pytest.raises(ModelError, match="expected at least 90%"):
            train_target(recipe, images, labels, 10, seeded_rng(0, "tests/targets"))
    for wrong in (labels[:5], labels + 10):
        with pytest.raises(SettingError, match="expected one in"):
            train_target(QUICK, images, wrong, 10, seeded_rng(0, "tests/targets"))


def test_every_recipe_names_an_architecture():
    images, labels = members()
    for name, recipe in RECIPES.items():
        short = recipe.model_copy(update={"steps": 1, "least_accuracy": 0.0})
        target = train_target(short, images, labels, 10, seeded_rng(0, "tests/targets"))
        assert target.head.out_features == 10, name


def test_pairs_share_a_class_and_a_coin_chooses():
    labels = digits().labels
    coins = []
    for seed in range(200):
        drawn = draw_pairs(labels, 25, seeded_rng(seed, "tests/pairs"))
        assert len(drawn.index.unique()) == 50
        assert not set(drawn.index.tolist()) & set(drawn.reference.tolist())
        assert len(drawn.reference.unique()) == len(labels) // 4
        first, second = drawn.index.view(-1, 2).T
        assert torch.equal(labels[first], labels[second])
        assert torch.equal(drawn.pair, torch.arange(25).repeat_interleave(2))
        assert torch.equal(drawn.member.view(-1, 2).sum(1), torch.ones(25, dtype=torch.int64))
        per_class = labels[first].bincount(minlength=10)
        assert int(per_class.max() - per_class.min()) <= 1
        coins.append(drawn.member.view(-1, 2)[:, 0])
    share = torch.stack(coins).double().mean(0)
    # 25 positions of 200 fair coins each: five standard deviations.
    assert float((share - 0.5).abs().max()) < 5 * 0.5 / 200**0.5
    again = draw_pairs(labels, 25, seeded_rng(0, "tests/pairs"))
    first = draw_pairs(labels, 25, seeded_rng(0, "tests/pairs"))
    assert torch.equal(again.index, first.index)
    assert torch.equal(again.member, first.member)


def test_too_few_images_are_refused():
    labels = torch.arange(40) % 4
    for pairs, match in ((0, "at least 1"), (40, r"class 0 has \d images")):
        with pytest.raises(SettingError, match=match):
            draw_pairs(labels, pairs, seeded_rng(0, "tests/pairs"))


def test_rare_classes_are_left_out_where_that_is_asked_for():
    # Classes 0, 3 and 9 have too few images, and class 6 has none.
    wanted = torch.tensor([3, 200, 200, 1, 200, 200, 0, 200, 200, 5])
    labels = torch.arange(10).repeat_interleave(wanted)
    with pytest.raises(SettingError, match="class 0 has"):
        draw_pairs(labels, 40, seeded_rng(0, "tests/pairs"))
    drawn = draw_pairs(labels, 40, seeded_rng(0, "tests/pairs"), leave_out_rare=True)
    assert drawn.left_out == (0, 3, 6, 9)
    per_class = labels[drawn.index].bincount(minlength=10) // 2
    assert per_class.tolist() == [0, 7, 7, 0, 7, 7, 0, 6, 6, 0]
    first, second = drawn.index.view(-1, 2).T
    assert torch.equal(labels[first], labels[second])


def test_a_class_that_gets_no_pair_is_not_left_out_and_nothing_changes_where_all_are_there():
    labels = torch.arange(50).repeat(20)
    strict = draw_pairs(labels, 40, seeded_rng(0, "tests/pairs"))
    drawn = draw_pairs(labels, 40, seeded_rng(0, "tests/pairs"), leave_out_rare=True)
    assert drawn.left_out == ()
    assert torch.equal(strict.index, drawn.index)
    assert torch.equal(strict.member, drawn.member)


def test_one_class_is_never_all_that_is_left():
    labels = torch.tensor([0] * 100 + [1])
    with pytest.raises(SettingError, match="class 1 has"):
        draw_pairs(labels, 8, seeded_rng(0, "tests/pairs"), leave_out_rare=True)
