from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from invaudit.data import digits_benchmark, seeded_rng
from invaudit.data.transform import quantise
from invaudit.inversion import InversionSettings
from invaudit.models import TrainingSettings, checkpoints, collect
from invaudit.ood import GarbageSettings, Recipe, cycle, train_network, untrained_target, with_garbage
from invaudit.ood import garbage as garbage_module
from invaudit.ood.garbage import Garbage, sharpened
from invaudit.runtime import RunFolderError, SettingError

pytestmark = pytest.mark.slow

QUANTISE = partial(quantise, levels=17)
SHORT = InversionSettings(steps=3, batch_size=16, eval_every=10)


def recipe(epochs=2, **garbage):
    shares = {"noise": 0.25, "derived": 0.5, "inversions": 0.25, "per_cycle": 35, **garbage}
    training = TrainingSettings(epochs=epochs, batch_size=64, precision="float32")
    return Recipe(training=training, garbage=GarbageSettings(**shares), inversion=SHORT)


@pytest.fixture(scope="module")
def splits():
    return digits_benchmark(0).splits


def trained(splits, chosen, seed=0, checkpoint=None):
    target = untrained_target(
        "small-cnn", splits.train, 7, seeded_rng(seed, "weights"), garbage=chosen.garbage is not None
    )
    return train_network(
        target, splits.train, chosen, seeded_rng(seed, "training"), held_out=splits.fit, checkpoint=checkpoint
    )


def batch(n=20):
    return torch.rand(n, 1, 8, 8), torch.arange(n) % 7


def test_garbage_keeps_its_shares_and_grey_levels(monkeypatch):
    flat = {"derived": 0.25, "inversions": 0.5, "noise": 0.75}
    monkeypatch.setattr(garbage_module, "derived", lambda _i, _l, n, _rng: torch.full((n, 1, 8, 8), flat["derived"]))
    monkeypatch.setattr(garbage_module, "noise", lambda n, *_, **__: torch.full((n, 1, 8, 8), flat["noise"]))
    garbage = Garbage(recipe().garbage, (1, 8, 8), seeded_rng(0, "g"), QUANTISE)
    garbage.remember(torch.full((10, 1, 8, 8), flat["inversions"]))
    drawn = garbage.draw(40, *batch())
    assert drawn.shape == (40, 1, 8, 8)
    grey = {name: QUANTISE(torch.tensor([value])).item() / 255 for name, value in flat.items()}
    found = {name: int((drawn - value).abs().flatten(1).amax(1).lt(1e-6).sum()) for name, value in grey.items()}
    assert found == {"derived": 20, "inversions": 10, "noise": 10}


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.0), (0.2, 0.4, 0.4), (0.1, 0.45, 0.45), (1 / 3, 1 / 3, 1 / 3)])
def test_garbage_gives_as_many_images_as_it_is_asked_for(shares):
    derived, inversions, real = shares
    left = 1 - sum(shares)
    chosen = GarbageSettings(noise=max(left, 0), derived=derived, inversions=inversions, real=real)
    garbage = Garbage(chosen, (1, 8, 8), seeded_rng(0, "g"), QUANTISE, torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    garbage.remember(torch.ones(10, 1, 8, 8))
    for n in range(1, 70):
        assert len(garbage.draw(n, *batch())) == n


def test_sharpened_images_are_more_of_a_class_and_the_network_is_a_guest(splits):
    target = trained(splits, recipe(inversions=0.0, noise=0.5)).target
    target.train()
    before, images = target.hash, torch.rand(40, 1, 8, 8, generator=seeded_rng(0, "images"))
    found = sharpened(target, images, 5, 0.05, torch.float32)
    assert target.training
    assert target.hash == before
    assert (found - images).abs().max() <= 5 * 0.05 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    surest = [collect(target, some).logits.softmax(1)[:, :7].max(1).values for some in (images, found)]
    assert (surest[1] > surest[0]).double().mean() > 0.9


def test_training_with_sharpened_garbage_repeats_and_withstands_more(splits):
    splits = replace(splits, train=splits.train.subset(slice(0, 300)))
    chosen = recipe(epochs=4, sharpen=3, sharpen_size=0.05, inversions=0.0, noise=0.5)
    first, second = trained(splits, chosen), trained(splits, chosen)
    assert first.target.hash == second.target.hash
    plain = trained(splits, recipe(epochs=4, inversions=0.0, noise=0.5))
    images = torch.rand(200, 1, 8, 8, generator=seeded_rng(1, "images"))
    fooled = []
    for one in (first.target, plain.target):
        moved = sharpened(one, images, 8, 0.05, torch.float32)
        fooled.append((collect(one, moved).logits.softmax(1)[:, :7].max(1).values > 0.5).double().mean())
    assert fooled[0] < fooled[1]


def test_only_the_share_asked_for_is_sharpened(splits):
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "w"), garbage=True)
    settings = GarbageSettings(sharpen=2, sharpen_size=0.2, sharpen_share=0.25)
    plain, moved = (Garbage(settings, (1, 8, 8), seeded_rng(0, "g"), QUANTISE) for _ in range(2))
    before = plain.draw(40, *batch())
    after = cycle._drawing(target, moved, settings, torch.float32)(40, *batch())
    changed = (before != after).flatten(1).any(1)
    assert int(changed.sum()) == 10


def test_noise_stands_in_before_the_first_cycle_and_draws_are_fresh():
    garbage = Garbage(recipe().garbage, (1, 8, 8), seeded_rng(0, "g"), QUANTISE)
    first, second = garbage.draw(40, *batch()), garbage.draw(40, *batch())
    assert len(first) == 40
    assert not torch.equal(first, second)


def test_memory_forgets_the_oldest():
    garbage = Garbage(recipe(memory=15).garbage, (1, 8, 8), seeded_rng(0, "g"), QUANTISE)
    garbage.remember(torch.zeros(10, 1, 8, 8))
    garbage.remember(torch.ones(10, 1, 8, 8))
    assert len(garbage.memory) == 15
    assert int((garbage.memory == 255).flatten(1).all(1).sum()) == 10


def test_real_outliers_take_their_share():
    shares = GarbageSettings(noise=0.75, real=0.25)
    real = torch.full((3, 1, 8, 8), 77, dtype=torch.uint8)
    drawn = Garbage(shares, (1, 8, 8), seeded_rng(0, "g"), QUANTISE, real).draw(40, *batch())
    assert int((drawn * 255 == 77).flatten(1).all(1).sum()) == 10


def test_a_share_of_real_outliers_without_any_is_refused(splits):
    asks = Recipe(garbage=GarbageSettings(noise=0.75, real=0.25))
    target = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "w"), garbage=True)
    with pytest.raises(SettingError, match=r"real outliers and none are given"):
        train_network(target, splits.train, asks, seeded_rng(0, "t"), held_out=splits.fit)


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match=r"sum to 1\.25"):
        recipe(noise=0.5)


@pytest.mark.parametrize("bad", [{"every": 0}, {"memory": 0}, {"slots": -1}, {"noise_kinds": ("nosie",)}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad)) if "noise_kinds" not in bad else "unknown noise"):
        recipe(**bad)


def test_more_classes_than_a_cycle_adds_inversions_for_is_no_crash(splits):
    assert trained(splits, recipe(per_cycle=5)).snapshots.images == []


def test_networks_of_a_seed_share_their_first_weights(splits):
    plain = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=False)
    garbage = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=True)
    for name, value in plain.module.blocks.state_dict().items():
        assert torch.equal(value, garbage.module.blocks.state_dict()[name])
    assert (plain.outputs, garbage.outputs) == (7, 8)


def test_the_cycle_adds_inversions_after_every_epoch_but_the_last(splits):
    made = trained(splits, recipe(epochs=3))
    assert made.snapshots.epochs == [1, 2]
    assert made.snapshots.images[0].shape == (7, 4, 1, 8, 8)
    assert made.inversions == 2 * 35
    assert made.inversion_steps == 2 * SHORT.steps
    assert made.steps == 3 * -(-len(splits.train) // 64)
    assert not made.target.training


def cycle_of(splits, **garbage):
    chosen = recipe(**garbage)
    target = trained(splits, chosen).target
    source = Garbage(chosen.garbage, (1, 8, 8), seeded_rng(0, "g"), QUANTISE)
    return cycle.Cycle(target, chosen, source, splits.fit, seeded_rng(0, "cycle"), steps_per_epoch=2)


def test_selective_exclusion_takes_what_is_less_certain_than_id_images(splits):
    one = cycle_of(splits, exclude="uncertain")
    share = one._uncertain(splits.fit.floats()).double().mean()
    assert 0.03 <= share <= 0.06
    one(2)
    assert one.excluded == len(one.garbage.memory)
    everything = cycle_of(splits)
    everything(2)
    assert one.excluded < everything.excluded == 35


def test_a_diverged_inversion_adds_nothing_and_the_next_generator_is_new(splits, monkeypatch, caplog):
    one = cycle_of(splits)
    before = one.inverter
    monkeypatch.setattr(type(before), "run", lambda *_: SimpleNamespace(outcome="diverged", message="not finite"))
    one(2)
    assert (one.cycles, one.excluded, len(one.garbage.memory)) == (1, 0, 0)
    assert one.inverter is not before
    assert "not finite" in caplog.text


def test_same_seed_same_network_other_seed_another(splits):
    first, again, other = (trained(splits, recipe(), seed).target.hash for seed in (0, 0, 1))
    assert first == again
    assert first != other


OFTEN = {"every": 0.4, "renew_every": 2, "sharpen": 2, "sharpen_share": 0.5}


def test_cycles_come_several_times_an_epoch_and_generators_are_renewed(splits, monkeypatch):
    made, new = [], cycle.Cycle._new

    def counted(one):
        made.append(one.steps_per_epoch)
        return new(one)

    monkeypatch.setattr(cycle.Cycle, "_new", counted)
    done = trained(splits, recipe(epochs=2, **OFTEN))
    every = round(0.4 * made[0])
    cycles = (done.steps - 1) // every
    assert cycles > 2
    assert done.inversion_steps == cycles * SHORT.steps
    assert len(made) == -(-cycles // 2), "one at the start, and one after every second cycle that another follows"
    assert done.snapshots.epochs == [1, 2]


@pytest.mark.parametrize("garbage", [{}, OFTEN], ids=["every-epoch", "often"])
def test_a_resumed_cycle_equals_an_uninterrupted_one(garbage, splits, tmp_path, killed_after):
    whole = trained(splits, recipe(epochs=3, **garbage))
    killed_after(checkpoints, 2)
    with pytest.raises(KeyboardInterrupt):
        trained(splits, recipe(epochs=3, **garbage), checkpoint=tmp_path / "work.pt")
    again = trained(splits, recipe(epochs=3, **garbage), checkpoint=tmp_path / "work.pt")
    assert again.target.hash == whole.target.hash
    assert again.snapshots.epochs == whole.snapshots.epochs
    assert again.inversions == whole.inversions


def test_a_checkpoint_of_another_recipe_is_refused(splits, tmp_path):
    trained(splits, recipe(), checkpoint=tmp_path / "work.pt")
    with pytest.raises(RunFolderError, match="another training"):
        trained(splits, recipe(weight=0.3), checkpoint=tmp_path / "work.pt")


def test_noise_garbage_is_learnt(splits):
    chosen = recipe(epochs=6, noise=1.0, derived=0.0, inversions=0.0)
    made = trained(splits, chosen)
    uniform = torch.rand(200, 1, 8, 8, generator=seeded_rng(0, "test"))
    assert (collect(made.target, uniform).logits.argmax(1) == 7).double().mean() > 0.9
    right = collect(made.target, splits.test).logits.argmax(1) == splits.test.labels
    assert right.double().mean() > 0.8


def test_a_garbage_class_is_added_without_changing_the_others(splits):
    plain = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=False).eval()
    grown = with_garbage(plain)
    assert grown.has_garbage
    images = splits.test.floats()[:20]
    with torch.no_grad():
        before, after = plain(images), grown.eval()(images)
    torch.testing.assert_close(after[:, :7], before)
    torch.testing.assert_close(after[:, 7], before.mean(1))
    assert with_garbage(grown).outputs == 8


def test_recipe_and_network_must_agree(splits):
    plain = untrained_target("small-cnn", splits.train, 7, seeded_rng(0, "weights"), garbage=False)
    with pytest.raises(SettingError, match="garbage"):
        train_network(plain, splits.train, recipe(), seeded_rng(0, "t"), held_out=splits.fit)
