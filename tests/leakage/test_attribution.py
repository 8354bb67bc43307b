"""Attribution finds the images that made the weights, and does not care for the order of the pool."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from invaudit.data import seeded_rng
from invaudit.data.digits import digits
from invaudit.leakage.attribution import attribute, nonnegative_fit
from invaudit.leakage.gradients import layers, products, weights
from invaudit.leakage.membership_signals import SIGNALS
from invaudit.leakage.targets import RECIPES, draw_pairs, train_target, untrained_target
from invaudit.models import InputSpec, Target, build, limit_threads
from invaudit.models.devices import seed_torch
from invaudit.runtime.errors import InputError
from invaudit.stats.rank_metrics import auroc

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained():
    """A ten-class target with 40 members, the pool, its labels and who is a member."""
    data = digits()
    drawn = draw_pairs(data.labels, 40, seeded_rng(100, "tests/draw"))
    images, labels = data.floats(drawn.index), data.labels[drawn.index]
    recipe = RECIPES["mlp"]
    with limit_threads(1):
        target = train_target(recipe, images[drawn.member], labels[drawn.member], 10, seeded_rng(100, "tests/target"))
    initial = untrained_target(recipe, target.spec, 10, seeded_rng(100, "tests/target")).module.state_dict()
    return target, initial, images, labels, drawn.member.numpy()


def separation(scores: torch.Tensor, member: np.ndarray) -> float:
    return auroc(scores[~member], scores[member])


def test_members_are_found(trained):
    target, initial, images, labels, member = trained
    assert separation(attribute(target, images, labels), member) > 0.9
    assert separation(attribute(target, images, labels, initial=initial), member) > 0.95
    for name, signal in SIGNALS.items():
        assert separation(signal(target, images, labels), member) > 0.6, name


@pytest.mark.parametrize("arch", ["mlp-40", "tiny-cnn"])
def test_weights_that_are_a_sum_of_gradients_give_their_multipliers(arch):
    """The last layer is set so that it is an exact sum; the others are taken out of the fit by their products."""
    spec = InputSpec(1, 8, 8)
    with seed_torch(seeded_rng(0, "tests/exact")):
        target = Target(build(arch, spec, 5), spec, 5).double().eval()
    rng = seeded_rng(1, "tests/exact")
    images, labels = torch.rand((12, 1, 8, 8), generator=rng).double(), torch.arange(12) % 5
    wanted = torch.tensor([0.5, 0, 1.5, 0, 0, 2, 0, 0.1, 0, 0, 0, 1]).double()
    names = list(layers(target))
    # Gradients by the weights of this very network, found by a loop.
    fitted = {name: torch.zeros_like(weights(layer)) for name, layer in layers(target).items()}
    for image, label, multiplier in zip(images, labels, wanted, strict=True):
        logits = target(image[None])[0]
        score = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).logsumexp(0)
        for name in names:
            layer = layers(target)[name]
            weight, bias = torch.autograd.grad(score, [layer.weight, layer.bias], retain_graph=True)
            fitted[name] += multiplier * torch.cat([weight.flatten(1), bias[:, None]], 1)
    found = products([target], fitted, images, labels)
    torch.testing.assert_close(nonnegative_fit(found.gram, found.inner), wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(30, 10), (60, 40), (40, 40), (300, 150)])
def test_fit_agrees_with_scipy(seed, shape):
    rng = np.random.default_rng(seed)
    # Gradients of one class are alike: columns share a direction.
    atoms = rng.standard_normal(shape) + 2 * rng.standard_normal((shape[0], 1))
    wanted = atoms @ (rng.random(shape[1]) * (rng.random(shape[1]) < 0.3)) + rng.standard_normal(shape[0])
    expected, _ = nnls(atoms, wanted)
    gram, inner = torch.from_numpy(atoms.T @ atoms), torch.from_numpy(atoms.T @ wanted)
    found = nonnegative_fit(gram, inner)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)
    slope = gram @ found - inner
    assert float(slope.min()) > -1e-6
    assert float((slope * found).abs().max()) < 1e-6


def test_order_of_the_pool_has_no_influence(trained):
    target, _, images, labels, _ = trained
    order = torch.randperm(len(images), generator=seeded_rng(0, "tests/order"))
    scores = attribute(target, images, labels)
    torch.testing.assert_close(attribute(target, images[order], labels[order]), scores[order], rtol=1e-5, atol=1e-9)


def test_equal_images_share(trained):
    target, _, images, labels, _ = trained
    twice = attribute(target, torch.cat([images, images]), labels.repeat(2))
    torch.testing.assert_close(twice[:80], twice[80:], rtol=1e-4, atol=1e-8)


def test_membership_scores_against_definitions(trained):
    target, _, images, labels, _ = trained
    images, labels = images[:5], labels[:5]
    found = {name: signal(target, images, labels) for name, signal in SIGNALS.items()}
    for position in range(5):
        logits = target(images[position : position + 1])
        loss = torch.nn.functional.cross_entropy(logits.double(), labels[position : position + 1])
        gradients = torch.autograd.grad(loss, list(target.parameters()))
        norm = torch.cat([one.flatten() for one in gradients]).double().norm()
        others = torch.cat([logits[0, : labels[position]], logits[0, labels[position] + 1 :]])
        assert float(found["loss"][position]) == pytest.approx(-float(loss.detach()), rel=1e-3)
        assert float(found["gradient-norm"][position]) == pytest.approx(-float(norm), rel=1e-3)
        margin = float(logits[0, labels[position]].detach() - others.max().detach())
        assert float(found["margin"][position]) == pytest.approx(margin, rel=1e-5)


def test_bad_input_is_refused(trained):
    target, _, images, labels, _ = trained
    cases = [
        lambda: attribute(target, images[:, :, :4], labels),
        lambda: attribute(target, images[:0], labels[:0]),
        lambda: attribute(target, images, labels[:5]),
        lambda: attribute(target, images, labels + 10),
        lambda: attribute(target, images * torch.nan, labels),
        lambda: attribute(target, images, labels, initial={}),
        *(lambda signal=signal: signal(target, images, labels - 1) for signal in SIGNALS.values()),
    ]
    for case in cases:
        with pytest.raises(InputError, match=r"expected|needs|pass"):
            case()
