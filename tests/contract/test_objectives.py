"""What every objective promises: its value, its gradient, no care for the order of the batch, and finite numbers."""

from dataclasses import replace

import pytest
import torch

from invaudit.inversion import OBJECTIVES, Step
from invaudit.inversion.conditions import Condition
from tests.inversion.references import REFERENCES
from tests.inversion.steps import N, step


@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_equals_an_independent_one(name):
    assert name in REFERENCES, f"add an independent computation of {name} to tests/inversion/references.py"
    observed = step()
    # Pixels out of range too, which some objective may look for.
    observed = replace(observed, images=2 * observed.images - 0.5)
    value = OBJECTIVES[name](observed)
    assert value.shape == ()
    assert value.item() == pytest.approx(REFERENCES[name](observed), rel=1e-10)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_equals_finite_differences(name):
    observed = step()

    def value(*leaves: torch.Tensor) -> torch.Tensor:
        images, logits, features, mean, noisy, gradient = leaves
        statistics = tuple(replace(layer, mean=mean) for layer in observed.batch_norm)
        changed = Step(
            3 * images - 1, observed.condition, logits, features, statistics, noisy, (gradient,), observed.centre
        )
        # The sum keeps a gradient for what this objective does not use.
        return OBJECTIVES[name](changed) + 0 * sum(leaf.sum() for leaf in leaves)

    leaves = (observed.images, observed.logits, observed.features, observed.batch_norm[0].mean)
    leaves += (observed.perturbed_logits, observed.weight_gradients[0])
    assert torch.autograd.gradcheck(value, tuple(leaf.clone().requires_grad_() for leaf in leaves), fast_mode=True)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_order_of_the_batch_does_not_matter(name):
    observed, order = step(), torch.randperm(N, generator=torch.Generator().manual_seed(1))
    condition = Condition(observed.condition.labels[order], observed.condition.wanted[order], None, None)
    moved = replace(
        observed,
        images=observed.images[order],
        condition=condition,
        logits=observed.logits[order],
        features=observed.features[order],
        perturbed_logits=observed.perturbed_logits[order],
    )
    torch.testing.assert_close(OBJECTIVES[name](moved), OBJECTIVES[name](observed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_finite_with_a_garbage_class_extreme_logits_and_dead_features(name):
    observed = step(garbage=True, dtype=torch.float32)
    logits = (1e4 * observed.logits).requires_grad_()
    features = torch.zeros_like(observed.features).requires_grad_()
    images = torch.zeros_like(observed.images).requires_grad_()
    still = torch.zeros(3, requires_grad=True)
    value = OBJECTIVES[name](
        Step(images, observed.condition, logits, features, observed.batch_norm, logits, (still,), images.detach()[0])
    )
    assert value.isfinite()
    (value + 0 * (logits.sum() + features.sum() + images.sum() + still.sum())).backward()
    for leaf in (logits, features, images, still):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
