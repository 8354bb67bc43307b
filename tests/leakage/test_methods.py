"""What inversion and DeepInversion promise beyond the contract of every reconstruction method."""

from copy import deepcopy

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.inversion import OBJECTIVES
from invaudit.leakage import METHODS, Reconstructions, generator_attack, reconstruct
from invaudit.runtime.errors import SettingError, ShapeError
from tests.leakage.short_runs import new_target, run, short_settings

pytestmark = pytest.mark.slow

OURS = ("generator", "tldr", "deepinversion")


@pytest.mark.parametrize("method", OURS)
def test_a_search_that_is_not_finite_gives_no_images_and_says_so(method, target, reference, caplog):
    broken = deepcopy(target)
    broken.head.weight.data.fill_(torch.inf)
    reconstructions = run(method, broken, reference=reference)
    assert (
        reconstructions.outcome,
        len(reconstructions),
        len(reconstructions.labels),
        len(reconstructions.restart),
    ) == ("diverged", 0, 0, 0)
    assert "not finite" in reconstructions.message
    assert f"{method} diverged" in caplog.text


@pytest.mark.parametrize("method", OURS)
def test_copies_of_one_image_are_called_collapsed(method, target, reference, caplog):
    reconstructions = run(method, target, settings={"least_spread": 0.9}, reference=reference)
    assert reconstructions.outcome == "collapsed"
    assert "copies of one image" in reconstructions.message
    assert f"{method} collapsed" in caplog.text


@pytest.mark.parametrize("method", OURS)
def test_enough_steps_converge_with_the_classes_that_were_wanted(method, target, reference):
    restarts = {} if method == "deepinversion" else {"restarts": 1}
    reconstructions = run(method, target, settings={"steps": 200, "eval_every": 100} | restarts, reference=reference)
    assert reconstructions.outcome == "converged"
    with torch.no_grad():
        assert (target(reconstructions.images).argmax(1) == reconstructions.labels).double().mean() > 0.9
    assert reconstructions.history["loss"][-1] < reconstructions.history["loss"][0]


@pytest.mark.parametrize("method", OURS)
def test_too_few_steps_are_a_budget(method, reference):
    reconstructions = run(
        method, new_target("mlp-100"), settings={"steps": 1, "least_spread": 0.0}, reference=reference
    )
    assert reconstructions.outcome == "budget"


@pytest.mark.parametrize("method", ["generator", "deepinversion"])
def test_terms_that_cannot_be_served_are_skipped_and_said(method, target, reference):
    reconstructions = run(method, target)
    assert "objective distance skipped, there are no reference images" in reconstructions.message
    assert "objective batch-norm skipped, the target has no stored statistics" in reconstructions.message
    assert not {"distance", "batch-norm"} & set(reconstructions.history)
    served = run(method, new_target("small-cnn"), reference=reference)
    assert {"distance", "batch-norm"} <= set(served.history)
    assert "skipped" not in served.message


def test_tldr_has_the_nine_terms_and_each_can_be_switched_off(target):
    weights = METHODS["tldr"].settings().weights
    terms = ["kl", "kl-perturbed", "cross-entropy", "cross-entropy-perturbed", "cosine", "orthogonality"]
    assert list(weights) == [*terms, "total-variation", "pixel-range", "gradient-norm"]
    assert all(weight > 0 for weight in weights.values())
    whole = run("tldr", target)
    for name in weights:
        reconstructions = run("tldr", target, settings={"weights": weights | {name: 0.0}})
        assert set(reconstructions.history) == set(whole.history) - {name}
        # Only the pixel range, which the generator keeps by itself, may go without a trace.
        assert torch.equal(reconstructions.images, whole.images) == (name == "pixel-range")


def test_gradient_term_as_printed_is_a_weight_away(target):
    weights = METHODS["tldr"].settings().weights | {"gradient-norm": 0.0, "gradient-norm-all": 0.3}
    reconstructions = run("tldr", target, settings={"weights": weights})
    assert reconstructions.history["gradient-norm-all"][0] > 0


def test_partly_given_settings_keep_the_defaults_of_their_method():
    assert METHODS["tldr"].settings(steps=7).weights == METHODS["tldr"].settings().weights
    assert METHODS["generator"].settings(images=7).hot


def test_batches_of_deepinversion_are_of_one_size_and_do_not_depend_on_each_other(target):
    settings = short_settings("deepinversion") | {"jitter": 0.0}
    whole = run("deepinversion", target, settings=settings)
    first = run("deepinversion", target, settings=settings | {"images": 10})
    assert torch.equal(whole.images[:10], first.images)


@pytest.mark.parametrize("images", [1, 3, 11])
def test_deepinversion_makes_fewer_images_than_classes(images, target):
    reconstructions = run("deepinversion", target, settings={"images": images, "steps": 200, "eval_every": 100})
    assert reconstructions.outcome == "converged"
    assert reconstructions.labels.tolist() == [label % 10 for label in range(images)]


def test_deepinversion_starts_around_the_reference(target, reference):
    reconstructions = run(
        "deepinversion", target, settings={"noise": 0.0, "steps": 1, "learning_rate": 1e-6}, reference=reference
    )
    torch.testing.assert_close(reconstructions.images, reference.mean(0).expand(20, -1, -1, -1), atol=1e-5, rtol=0)


def test_jitter_shifts_what_the_target_sees_and_not_the_images(target, reference):
    settings = {"jitter": 0.25, "noise": 0.0, "steps": 1, "learning_rate": 1e-6}
    reconstructions = run("deepinversion", target, settings=settings, reference=reference)
    torch.testing.assert_close(reconstructions.images, reference.mean(0).expand(20, -1, -1, -1), atol=1e-5, rtol=0)
    still, moved = (
        run("deepinversion", target, settings={"jitter": jitter}, reference=reference) for jitter in (0.0, 0.25)
    )
    assert not torch.equal(still.images, moved.images)


def test_unknown_methods_and_settings_of_another_one_are_refused(target):
    with pytest.raises(SettingError, match="expected one of generator, tldr, deepinversion, kkt"):
        reconstruct(target, "magic", {}, seeded_rng(0, "tests"))
    with pytest.raises(SettingError, match="expected GeneratorSettings"):
        reconstruct(target, "generator", METHODS["tldr"].settings(), seeded_rng(0, "tests"))


def test_unknown_objectives_are_refused():
    for method in OURS:
        with pytest.raises(ValueError, match="unknown objective 'beauty'"):
            METHODS[method].settings(weights={"cross-entropy": 1.0, "beauty": 1.0})
        assert set(METHODS[method].settings().weights) <= set(OBJECTIVES)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, torch.nan])
def test_values_out_of_range_are_no_reconstructions(wrong):
    images = torch.full((2, 1, 8, 8), 0.5)
    images[1, 0, 3, 3] = wrong
    with pytest.raises(SettingError, match="outside"):
        Reconstructions(images, torch.zeros(2).long(), torch.zeros(2).long(), "given")


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ShapeError, match="one label and restart each"):
        Reconstructions(torch.zeros(2, 1, 8, 8), torch.zeros(3).long(), torch.zeros(2).long(), "given")


def test_a_restart_that_diverged_gives_no_images_and_the_others_do(target, monkeypatch):
    runs = []

    class Breaking(generator_attack.Inverter):
        def run(self, target, **options):
            runs.append(target)
            broken = deepcopy(target)
            if len(runs) == 1:
                broken.head.weight.data.fill_(torch.inf)
            return super().run(broken, **options)

    monkeypatch.setattr(generator_attack, "Inverter", Breaking)
    reconstructions = run("generator", target)
    assert reconstructions.outcome == "diverged"
    assert reconstructions.restart.tolist() == [1] * 20
