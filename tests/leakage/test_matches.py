import numpy as np
import pytest
import torch
from pytorch_msssim import ssim

from invaudit.data import seeded_rng
from invaudit.leakage import best_similarity, papers_count, score_reconstructions
from invaudit.similarity import make_metric, pairwise
from invaudit.stats import Pairs


@pytest.fixture
def pool():
    return torch.rand(20, 1, 8, 8, generator=seeded_rng(0, "pool")), torch.arange(20) % 4 // 2


@pytest.mark.parametrize("name", ["ssim", "cosine"])
def test_copies_of_members_are_found_and_nothing_else(pool, name):
    images, _ = pool
    metric = make_metric(name, reference=torch.rand(30, 1, 8, 8, generator=seeded_rng(0, "reference")))
    design = Pairs(np.arange(20) % 2 == 0, np.arange(20) // 2)
    test = score_reconstructions(images[::2], images, metric, length=64).test(
        design, np.random.default_rng(0), draws=999
    )
    assert test.distinct_hits == 10
    assert test.similarity_member == pytest.approx(np.ones(10))
    assert test.p_value <= 0.01  # twice 2 ** -10, and the chance of the draws
    controls = score_reconstructions(images[1::2], images, metric, length=64).test(
        design, np.random.default_rng(0), draws=999
    )
    assert controls.p_value > 0.5


def test_membership_by_similarity_is_the_mean_over_restarts_of_the_best_of_the_class(pool):
    images, labels = pool
    metric = make_metric("ssim")
    found = torch.rand(12, 1, 8, 8, generator=seeded_rng(1, "found"))
    found_labels, restart = torch.arange(12) % 2, torch.arange(12) // 6
    scores = best_similarity(found, found_labels, restart, images, labels, metric)
    table = pairwise(found, images, metric)
    for image in range(20):
        best = [
            max(float(table[r, image]) for r in range(12) if restart[r] == turn and found_labels[r] == labels[image])
            for turn in (0, 1)
        ]
        assert float(scores[image]) == pytest.approx(np.mean(best), abs=1e-12)


def test_reconstructions_without_labels_count_for_every_class(pool):
    images, labels = pool
    metric = make_metric("ssim")
    unknown = torch.full((20,), -1)
    scores = best_similarity(images, unknown, torch.zeros(20, dtype=torch.int64), images, labels, metric)
    assert scores.numpy() == pytest.approx(np.ones(20))


def test_the_papers_count_pairs_by_cosine_and_then_asks_for_a_small_window(pool):
    images, _ = pool
    noise = torch.rand(20, 1, 8, 8, generator=seeded_rng(2, "noise"))
    assert papers_count(images, images).all()
    assert not papers_count(noise, images).any()
    half = papers_count(torch.cat([images[:10], noise]), images)
    assert half[:10].all()
    assert not half[10:].any()


def test_the_papers_count_is_that_of_its_definition():
    rng = seeded_rng(3, "smooth")
    smooth = torch.nn.functional.interpolate(torch.rand(30, 3, 4, 4, generator=rng), (12, 12), mode="bilinear")
    pool, made = smooth[:20], 0.3 + 0.4 * smooth[15:] + 0.1 * torch.rand(15, 3, 12, 12, generator=rng)
    expected = []
    for image in pool:
        pairs = zip(made.flatten(2).numpy(), [image.flatten(1).numpy()] * len(made), strict=True)
        ncc = [np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*pair, strict=True)]) for pair in pairs]
        best = made[int(np.argmax(ncc))]
        best = (best - best.min()) / (best.max() - best.min())
        sides = [np.pad(one.double().numpy(), ((0, 0), (1, 1), (1, 1)), mode="reflect") for one in (image, best)]
        expected.append(float(ssim(*(torch.from_numpy(s)[None] for s in sides), data_range=1.0, win_size=3)) > 0.4)
    assert papers_count(made, pool).tolist() == expected
    assert 0 < sum(expected) < 20
