"""Rows against the library's own way: fitted by its ``fit(loader)``, scored by its ``predict(images)``."""

import inspect
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import weibull_min
from torch import nn

from invaudit.data import seeded_rng
from invaudit.models import InputSpec, Target, build, collect
from invaudit.models.devices import seed_torch
from invaudit.ood.baselines import BASELINES
from invaudit.ood.baselines.fast import OpenMax, gram_sums, shaped_maps, without_rank_one
from invaudit.ood.baselines.image_detectors import SharedDropout, unaliased

pytestmark = [pytest.mark.xdist_group("baselines"), pytest.mark.slow]
THROUGH_ENTRY_POINTS = [
    name
    for name, row in BASELINES.items()
    if row.consumes in ("logits", "features", "maps")
    and name not in ("WeightedEBO", "MCM", "Gram", "MultiMahalanobis")
    and not name.endswith("@last-layer")
]
LOOSE = {"RMD": 0.05, "Mahalanobis": 2e-3, "PNML": 2e-3, "MultiMahalanobis": 2e-3, "OpenMax": 0.02}
"""Largest difference in units of the spread: the library rounds in float32, and stops before the best Weibull fit."""


def close(name, found, expected):
    expected = expected.detach().double()
    atol = LOOSE.get(name, 1e-4) * float(expected.std())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=atol)


def modules_of(toy, row, detector):
    """The network as the library wants it: whole, up to the features, up to the last map, and what follows."""
    target, pooled = toy.target, detector.form == "features, as maps of one position"
    as_maps = lambda images: target.activations(images).features[:, :, None, None]  # noqa: E731
    backbone = as_maps if pooled else lambda images: target.activations(images).maps[-1]
    after = (lambda maps: target.head(maps.flatten(1))) if pooled else target.tail
    return {
        "model": lambda images: target(images).double(),
        "encoder": lambda images: target.activations(images).features,
        "backbone": backbone,
        "head": after if row.consumes == "maps" else target.head,
        "w": target.head.weight,
        "b": target.head.bias,
    }


@pytest.mark.parametrize("network", ["small-cnn", "plain-cnn"])
@pytest.mark.parametrize("name", THROUGH_ENTRY_POINTS)
def test_stored_activations_score_as_images_do(toys, network, name):
    toy, row = toys(network), BASELINES[name]
    ours = row.detector(toy.fitting)
    given = modules_of(toy, row, ours)
    asked = inspect.signature(row.kind).parameters
    theirs = row.kind(**{key: value for key, value in given.items() if key in asked}, **row.defaults(toy.fitting))
    fitting = toy.fitting
    source, labels = toy.data.floats(), fitting.train_labels
    if row.fits_on == "fit":
        source, labels = fitting.fit.images, fitting.fit_labels
    elif ours.form == "maps of the last block":
        source, labels = fitting.maps.images, fitting.maps_labels
    with torch.no_grad():
        theirs.fit([(source, labels)])
        # One batch in which every class is predicted: the library's OpenMax depends on that.
        expected = theirs.predict(toy.inside.images)
    close(name, ours.score(toy.inside), expected)


@pytest.mark.parametrize("network", ["small-cnn", "plain-cnn"])
def test_several_layers_score_as_images_do(toys, network):
    toy = toys(network)
    target, module = toy.target, toy.target.module
    layers, rest = list(module.blocks), nn.Sequential(module.pool, module.head)
    images = target.normalise(toy.inside.images)
    maps = [(target.normalise(toy.fitting.maps.images), toy.fitting.maps_labels)]
    theirs = BASELINES["Gram"].kind(rest, layers, target.classes)
    with seed_torch(seeded_rng(0, "test/gram")):
        theirs.fit(maps)
    ours = BASELINES["Gram"].detector(replace(toy.fitting, rng=seeded_rng(0, "test/gram")))
    close("Gram", ours.score(toy.inside), theirs.predict(images))

    row = BASELINES["MultiMahalanobis"]
    theirs = row.kind(layers).fit([(target.normalise(toy.data.floats()), toy.fitting.train_labels)])
    with torch.no_grad():
        close("MultiMahalanobis", row.detector(toy.fitting).score(toy.inside), theirs.predict(images))


@pytest.mark.parametrize("name", ["GradNorm", "GradUncertainty"])
def test_the_last_layer_scores_as_its_gradients_do(toys, name):
    toy = toys("small-cnn")
    # Where the library cuts off small probabilities its gradient is not that of its loss.
    sure = toy.inside.logits.softmax(1).min(1).values < 1e-11
    few = toy.inside.select(~sure)
    assert len(few) > 30
    ours = BASELINES[f"{name}@last-layer"].detector(toy.fitting).score(few)
    theirs = BASELINES[name].kind(deepcopy(toy.target), param_filter=lambda key: ".head." in key)
    torch.testing.assert_close(ours, theirs.predict(few.images).double(), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", ["ODIN", "MahalanobisODIN"])
def test_a_step_on_raw_images_is_the_librarys_step_on_normalised_ones(toys, name):
    toy, row = toys("small-cnn"), BASELINES[name]
    module, std = toy.target.module, list(toy.target.spec.std)
    if name == "ODIN":
        theirs = row.kind(module, norm_std=std)
    else:
        theirs = row.kind(nn.Sequential(module.blocks, module.pool), norm_std=std)
        theirs.fit_features(toy.fitting.train.features, toy.fitting.train_labels)
    expected = theirs.predict(toy.target.normalise(toy.inside.images))
    toy.target.zero_grad()
    close("Mahalanobis", row.detector(toy.fitting).score(toy.inside), expected)


def test_neurons_are_those_of_the_features(toys):
    toy, row = toys("small-cnn"), BASELINES["NACUE"]
    model = deepcopy(toy.target)
    theirs = row.kind(model, [model.module.pool])
    theirs.fit([toy.fitting.maps.images])
    close("NACUE", row.detector(toy.fitting).score(toy.inside), theirs.predict(toy.inside.images))


def test_dropout_on_stored_maps_is_dropout_on_images(toys):
    toy, row = toys("small-cnn"), BASELINES["MCD"]
    fitting = replace(toy.fitting, rng=seeded_rng(0, "test/mcd"))
    ours = row.detector(fitting)
    assert ours.form == "maps of the last block"
    model = deepcopy(toy.target)
    model.module.pool[1] = SharedDropout(model.module.pool[1])
    seed = replace(fitting, rng=seeded_rng(0, "test/mcd")).seed()
    with seed_torch(torch.Generator().manual_seed(seed)):
        expected = row.kind(model).predict(toy.inside.images)
    close("MCD", ours.score(toy.inside), expected)
    # The same masks for all images, or others for each: the same mean variance.
    detectors = [row.detector(replace(fitting, rng=seeded_rng(k, "test/mcd"))) for k in range(20)]
    shared = torch.stack([detector.score(toy.outside).mean() for detector in detectors]).mean()
    with seed_torch(seeded_rng(0, "test/mcd/plain")):
        plain = row.kind(deepcopy(toy.target), samples=200).predict(toy.outside.images)
    torch.testing.assert_close(shared, plain.double().mean(), rtol=0.1, atol=0)


def test_shared_dropout_has_one_mask_for_all_images():
    layer = SharedDropout(nn.Dropout(0.5)).train()
    found = layer(torch.ones(4, 50))
    assert torch.equal(found, found[:1].expand(4, -1))
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(layer.eval()(found), found)


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 12, 2, 2), (6, 9, 3, 3), (6, 5, 1, 7)])
def test_rank_one_is_removed_as_by_singular_values(shape):
    maps = torch.randn(shape, generator=seeded_rng(0, f"test/rank/{shape}"))
    # Two equal singular values leave the first triplet open; images of zeros have none.
    maps[0], maps[1] = 0, 0
    maps[1].view(shape[1], -1)[:2, :2] = torch.tensor([[3.0, 0.1], [0.1, -3.0]])
    u, s, v = np.linalg.svd(maps.flatten(2).double().numpy(), full_matrices=False)
    expected = maps.flatten(2).numpy() - s[:, :1, None] * (u[:, :, :1] @ v[:, :1])
    found = without_rank_one(maps)
    assert found.dtype == maps.dtype
    np.testing.assert_allclose(found[2:].flatten(2).numpy(), expected[2:], atol=1e-6)
    left = np.linalg.svd(found[:2].flatten(2).numpy(), compute_uv=False)
    np.testing.assert_allclose(left[:, 0], s[:2, 1], atol=1e-5)


def test_rank_one_is_removed_from_activations_as_by_singular_values():
    maps = torch.rand(20, 24, 4, 4, generator=seeded_rng(0, "test/rank/activations")).relu() ** 3
    u, s, v = torch.linalg.svd(maps.flatten(2).double(), full_matrices=False)
    assert (s[:, 1] / s[:, 0]).max() < 0.6
    expected = maps.flatten(2) - s[:, :1, None] * (u[:, :, :1] @ v[:, :1])
    torch.testing.assert_close(without_rank_one(maps).flatten(2).double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("percentile", [0.0, 0.65, 0.95])
@pytest.mark.parametrize("ties", [False, True])
def test_maps_are_shaped_as_by_the_library(percentile, ties):
    from pytorch_ood.detector.ash import ash_s
    from pytorch_ood.detector.scale import scale

    maps = torch.randn(30, 8, 3, 3, generator=seeded_rng(0, "test/shaped")).relu()
    # Ties among zeros for ASH too; among others the library keeps some at will, which only SCALE does not see.
    torch.testing.assert_close(shaped_maps(maps, percentile, pruned=True), ash_s(maps, percentile))
    maps = (4 * maps).round() if ties else maps
    torch.testing.assert_close(shaped_maps(maps, percentile, pruned=False), scale(maps, percentile))


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_gram_sums_are_row_sums_of_gram_matrices(p):
    features = torch.randn(4, 6, 3, 3, generator=seeded_rng(0, "test/gram-sums")).double()
    powers = features.flatten(2) ** p
    sums = (powers @ powers.transpose(1, 2)).sum(2)
    torch.testing.assert_close(gram_sums(features, p), sums.sign() * sums.abs() ** (1 / p))
    torch.testing.assert_close(gram_sums(features[:, :, 0, 0], p), gram_sums(features[:, :, :1, :1], p))


def test_openmax_weibulls_are_the_most_likely_ones():
    labels = torch.arange(300) % 3
    logits = 6 * torch.eye(3)[labels] + torch.randn(300, 3, generator=seeded_rng(0, "test/openmax"))
    model = OpenMax.fit(logits, labels, tailsize=25)
    own = logits[labels == 0].double()
    tail = np.sort((own - own.mean(0)).norm(dim=1).numpy())[-25:]
    shape, scale, shift = model.weibull[:, 0].numpy()
    values = tail + shift
    best = weibull_min.logpdf(values, shape, scale=scale).sum()
    for factor in (0.99, 1.01):
        assert weibull_min.logpdf(values, shape * factor, scale=scale).sum() < best
        assert weibull_min.logpdf(values, shape, scale=scale * (1 + (factor - 1) / 1e4)).sum() < best
    fit = weibull_min.fit(values, floc=0)
    assert best >= weibull_min.logpdf(values, fit[0], scale=fit[2]).sum() - 1e-6


class Aliased(nn.Module):
    """A network whose head goes by two names, the trap for functional gradients."""

    def __init__(self):
        super().__init__()
        self.backbone = build("plain-cnn", InputSpec(1, 8, 8), 3)
        self.fc = self.backbone.head

    def forward(self, images):
        return self.fc(self.backbone.pool(self.backbone.blocks(images)))


@pytest.mark.parametrize("name", ["GradNorm", "GradUncertainty", "MahalanobisODIN", "NACUE", "ODIN"])
def test_a_module_of_two_names_does_no_harm(toys, name):
    toy = toys("plain-cnn")
    module = Aliased()
    module.backbone.load_state_dict(toy.target.module.state_dict())
    target = Target(module, toy.target.spec, 3).eval()
    scores = BASELINES[name].detector(replace(toy.fitting, target=target)).score(toy.inside)
    close(name, scores, BASELINES[name].detector(toy.fitting).score(toy.inside))
    assert all(type(value) is nn.Parameter for value in target.parameters())
    target(toy.inside.images).sum().backward()
    assert module.fc.weight.grad is not None


def test_unaliased_names_every_parameter_once():
    module = Aliased()
    module.backbone.pool[1].bias = nn.Parameter(torch.zeros(100))
    module.extra = nn.Linear(100, 100)
    module.extra.bias = module.backbone.pool[1].bias
    apart = unaliased(module)
    assert len(list(apart.named_parameters(remove_duplicate=False))) == len(list(apart.parameters()))
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(apart(images), module(images))
    assert module.fc is module.backbone.head


def test_collect_agrees_with_single_images(toys):
    toy = toys("small-cnn")
    alone = collect(toy.target, toy.inside.images[5:6])
    torch.testing.assert_close(alone.maps[-1], toy.inside.maps[-1][5:6])
    torch.testing.assert_close(alone.moments[0], toy.inside.moments[0][5:6])
