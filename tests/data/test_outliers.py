"""What is special to some noises, derivations and families; what all promise is in the contract."""

import pytest
import torch

from invaudit.data import DERIVED, FAMILIES, NOISES, derived, load, noise, seeded_rng
from invaudit.data.shapes import partners
from invaudit.runtime.errors import SettingError
from tests.data.image_pools import pool


def test_names_are_those_of_the_design() -> None:
    assert list(NOISES) == ["uniform", "gaussian", "salt", "bumps"]
    assert list(DERIVED) == ["patch-shuffle", "phase-noise", "cut-join", "inverted"]
    expected = "class-mix outline strokes polygons pink-noise gratings warps overlays zoom-crops blobs"
    assert list(FAMILIES) == expected.split()


@pytest.mark.parametrize("name", [name for name in DERIVED if name != "cut-join"])
def test_all_but_joined_images_derive_from_one_image_each(name: str) -> None:
    images, labels = pool((1, 8, 8), 7)
    black = torch.zeros_like(images)
    black[3] = images[3]
    changed = DERIVED[name](black, labels, seeded_rng(0, "outliers")) != DERIVED[name](
        black * 0, labels, seeded_rng(0, "outliers")
    )
    assert changed.flatten(1).any(1).tolist() == [i == 3 for i in range(7)]


def test_shares_are_equal_and_add_up() -> None:
    images, labels = pool((1, 8, 8))
    for n in range(10):
        assert len(noise(n, (1, 8, 8), seeded_rng(0, "outliers"))) == n
        assert len(derived(images, labels, n, seeded_rng(0, "outliers"))) == n
    last = derived(images, labels, 8, seeded_rng(0, "outliers"))[6:]
    negatives = {image.numpy().tobytes() for image in 1 - images}
    assert all(image.numpy().tobytes() in negatives for image in last)


def test_noise_of_chosen_kinds_only() -> None:
    chosen = noise(6, (1, 8, 8), seeded_rng(0, "outliers"), kinds=("gaussian",))
    assert torch.equal(chosen, NOISES["gaussian"]((6, 1, 8, 8), seeded_rng(0, "outliers")))
    with pytest.raises(SettingError, match="there is no noise pepper, expected any of: uniform, gaussian"):
        noise(6, (1, 8, 8), seeded_rng(0, "outliers"), kinds=("gaussian", "pepper"))


@pytest.mark.parametrize("side", [8, 28, 32])
def test_patch_shuffle_moves_every_patch_and_loses_none(side: int) -> None:
    images, labels = pool((1, side, side), 12)
    shuffled = DERIVED["patch-shuffle"](images, labels, seeded_rng(0, "outliers"))
    grids = {8: (2, 4), 28: (2, 4, 7), 32: (2, 4, 8)}[side]
    for i, (before, after) in enumerate(zip(images, shuffled, strict=True)):
        patch = side // grids[i % len(grids)]
        old, new = (image[0].unfold(0, patch, patch).unfold(1, patch, patch).flatten(0, 1) for image in (before, after))
        assert sorted(p.numpy().tobytes() for p in old) == sorted(p.numpy().tobytes() for p in new)
        assert not (old == new).flatten(1).all(1).any()


def test_phase_noise_keeps_the_amplitude() -> None:
    # Small contrast, so that nothing is clipped.
    images = 0.5 + 0.02 * (pool((3, 12, 12))[0] - 0.5)
    labels = torch.zeros(20).long()
    noisy = DERIVED["phase-noise"](images, labels, seeded_rng(0, "outliers"))
    before, after = torch.fft.fft2(images.double()), torch.fft.fft2(noisy.double())
    assert torch.allclose(before.abs(), after.abs(), atol=1e-4)
    assert torch.allclose(images.mean((2, 3)), noisy.mean((2, 3)), atol=1e-6)
    assert not torch.allclose(images, noisy, atol=1e-3)
    turns = after[..., 1, 1] / before[..., 1, 1]
    assert torch.allclose(turns, turns[:, :1].expand_as(turns), atol=1e-2)


def test_cut_join_takes_both_sides_from_different_classes() -> None:
    labels = torch.arange(40) % 4
    images = (labels / 4)[:, None, None, None].expand(-1, 1, 16, 16).contiguous()
    joined = DERIVED["cut-join"](images, labels, seeded_rng(0, "outliers"), 60)
    for image in joined:
        values, counts = image.unique(return_counts=True)
        assert len(values) == 2
        assert counts.min() >= 0.2 * 256


def test_partners_are_even_over_all_images_of_other_classes() -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 2, 5])
    mine = torch.tensor([0, 1]).repeat_interleave(4000)
    partner, alone = partners(labels, mine, seeded_rng(0, "partners"))
    assert not alone.any()
    counts = torch.stack([torch.bincount(part, minlength=7) for part in partner.split(4000)])
    assert counts[0].tolist() == pytest.approx([0, 1000, 1000, 1000, 0, 0, 1000], abs=130)
    assert counts[1].tolist() == pytest.approx([800, 0, 800, 0, 800, 800, 800], abs=130)
    assert partners(torch.zeros(3).long(), mine, seeded_rng(0, "partners"))[1].all()


@pytest.mark.parametrize("name", ["class-mix", "overlays"])
def test_pairs_of_families_are_of_different_classes(name: str) -> None:
    labels = torch.arange(9) % 3
    images = torch.nn.functional.one_hot(labels, 3).float()[:, :, None, None].expand(-1, -1, 8, 8).contiguous()
    made = FAMILIES[name](images, labels, 50, seeded_rng(0, "families"))
    assert ((made.amax((2, 3)) > 0.3).sum(1) == 2).all()


def test_outline_of_a_flat_image_is_black_and_warps_change_images() -> None:
    flat, labels = torch.full((4, 1, 8, 8), 0.7), torch.zeros(4).long()
    assert FAMILIES["outline"](flat, labels, 5, seeded_rng(0, "families")).abs().max() == 0
    digits = load("digits@0:50")
    warped = FAMILIES["warps"](digits.floats(), digits.labels, 50, seeded_rng(0, "families"))
    originals = digits.floats().flatten(1)
    assert torch.cdist(warped.flatten(1), originals).amin(1).median() > 1


@pytest.mark.parametrize("name", ["strokes", "polygons", "gratings", "blobs"])
def test_painted_families_take_their_colours_from_the_images(name: str) -> None:
    images, labels = torch.full((4, 3, 16, 16), 0.25), torch.zeros(4).long()
    images[:, 1, 3:6] = 0.75
    made = FAMILIES[name](images, labels, 30, seeded_rng(0, "families"))
    assert torch.allclose(made[:, 0], torch.tensor(0.25))
    assert made[:, 1].min() >= 0.25 - 1e-6
    assert made[:, 1].max() <= 0.75 + 1e-6
    assert (made[:, 1].flatten(1).amax(1) > 0.4).float().mean() > 0.9
