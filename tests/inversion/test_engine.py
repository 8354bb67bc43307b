"""The engine: what it leaves alone, what it repeats, how it ends."""

from copy import deepcopy

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.inversion import (
    GENERATORS,
    MODES,
    OBJECTIVES,
    InversionSettings,
    Inverter,
    condition_from,
    diagnose,
    engine,
    generators,
    invert,
)
from invaudit.models import Target, checkpoints
from invaudit.runtime.errors import RunFolderError, SettingError

pytestmark = pytest.mark.slow

SHORT = InversionSettings(steps=6, batch_size=20, eval_every=2, eval_images=4, noise=8)
LABELS = torch.arange(20) % 10


def weights_of(module: torch.nn.Module) -> bytes:
    return b"".join(value.detach().numpy().tobytes() for value in module.state_dict().values())


@pytest.fixture(scope="module")
def inversion(trained):
    return invert(trained, InversionSettings(steps=200, eval_every=100), seeded_rng(0, "tests/invert"))


def test_digits_are_inverted_to_the_wanted_accuracy_with_images_that_differ(inversion, trained):
    assert inversion.outcome == "converged"
    labels = torch.arange(10).repeat_interleave(50)
    images = inversion.sample(labels, seeded_rng(1, "tests/sample"))
    assert images.shape == (500, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    with torch.no_grad():
        hits = (trained(images).argmax(1) == labels).double().view(10, 50).mean(1)
    assert hits.min() >= 0.9
    diagnosis = diagnose(inversion, trained, seeded_rng(2, "tests/diagnosis"))
    assert diagnosis.accuracy >= 0.97
    assert min(diagnosis.accuracy_per_class) >= 0.93
    assert min(diagnosis.spread_per_class) > 0.02


def test_history_holds_every_evaluation_and_every_objective(inversion):
    assert [evaluation.step for evaluation in inversion.history] == [100, 200]
    for evaluation in inversion.history:
        assert list(evaluation.objectives) == list(inversion.settings.weights)
        total = sum(inversion.settings.weights[name] * value for name, value in evaluation.objectives.items())
        assert evaluation.loss == pytest.approx(total)
        assert len(evaluation.accuracy) == len(evaluation.spread) == 10
    assert inversion.history[1].loss < inversion.history[0].loss


def test_sampling_is_repeatable_and_takes_any_distribution(inversion):
    first, again = (inversion.sample(LABELS, seeded_rng(5, "tests")) for _ in range(2))
    assert torch.equal(first, again)
    border = torch.zeros(3, 10)
    border[:, [3, 8]] = 0.5
    assert inversion.sample(condition_from(border), seeded_rng(5, "tests")).shape == (3, 1, 8, 8)
    with pytest.raises(SettingError, match="expected 0 to 9"):
        inversion.sample(torch.tensor([10]), seeded_rng(5, "tests"))
    with pytest.raises(SettingError, match="another mode"):
        inversion.sample(condition_from(border, "vector"), seeded_rng(5, "tests"))
    with pytest.raises(SettingError, match="number of classes"):
        inversion.sample(condition_from(border[:, 2:]), seeded_rng(5, "tests"))


def test_target_is_given_back_as_it_was(trained):
    target = deepcopy(trained).train()
    for index, value in enumerate(target.parameters()):
        value.requires_grad_(index % 2 == 0)
    modes = [part.training for part in target.modules()]
    grads = [value.requires_grad for value in target.parameters()]
    before = target.hash
    invert(target, SHORT, seeded_rng(0, "tests"))
    assert target.hash == before
    assert [part.training for part in target.modules()] == modes
    assert [value.requires_grad for value in target.parameters()] == grads
    assert all(value.grad is None for value in target.parameters())
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in target.modules())


def test_same_seed_same_bytes_and_global_randomness_untouched(trained):
    state = torch.get_rng_state()
    first, again, other = (invert(trained, SHORT, seeded_rng(seed, "tests")) for seed in (0, 0, 1))
    assert weights_of(first.generator) == weights_of(again.generator) != weights_of(other.generator)
    assert first.history == again.history
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_killed_inversion_resumes_to_the_same_bytes(stop, trained, tmp_path, killed_after):
    whole_rng, rng = seeded_rng(0, "tests"), seeded_rng(0, "tests")
    whole = invert(trained, SHORT, whole_rng)
    path, written = tmp_path / "work.pt", killed_after(checkpoints, stop)
    with pytest.raises(KeyboardInterrupt):
        invert(trained, SHORT, seeded_rng(0, "tests"), checkpoint=path)
    resumed = invert(trained, SHORT, rng, checkpoint=path)
    assert len(written) == 3
    assert weights_of(resumed.generator) == weights_of(whole.generator)
    assert (resumed.history, resumed.outcome, resumed.message) == (whole.history, whole.outcome, whole.message)
    assert torch.equal(rng.get_state(), whole_rng.get_state())
    assert weights_of(invert(trained, SHORT, seeded_rng(0, "tests"), checkpoint=path).generator) == weights_of(
        whole.generator
    )


@pytest.mark.parametrize("change", ["settings", "target", "seed"])
def test_checkpoint_of_another_inversion_is_refused(change, trained, new_target, tmp_path):
    path = tmp_path / "work.pt"
    invert(trained, SHORT, seeded_rng(0, "tests"), checkpoint=path)
    settings = SHORT.model_copy(update={"learning_rate": 1e-3}) if change == "settings" else SHORT
    target = new_target("small-cnn") if change == "target" else trained
    with pytest.raises(RunFolderError, match="another inversion"):
        invert(target, settings, seeded_rng(change == "seed", "tests"), checkpoint=path)


def test_best_state_is_kept(trained):
    # So fast that it gets worse at times: every step is evaluated, and the best is not the last.
    settings = SHORT.model_copy(update={"learning_rate": 0.3, "steps": 8, "eval_every": 1})
    result = invert(trained, settings, seeded_rng(1, "tests"))
    ranks = [(min(*evaluation.accuracy, 0.95), -evaluation.loss, evaluation.step) for evaluation in result.history]
    best = max(ranks)[2]
    assert best < 8
    assert f"after {best} steps" in result.message
    shorter = Inverter(settings, trained, seeded_rng(1, "tests"))
    shorter.run(trained, best)
    assert weights_of(shorter.generator) == weights_of(result.generator)


def test_the_last_state_is_kept_where_the_learning_rate_falls(trained):
    settings = SHORT.model_copy(update={"learning_rate": 0.3, "steps": 8, "eval_every": 1, "schedule": "cosine"})
    result = invert(trained, settings, seeded_rng(1, "tests"))
    ranks = [(min(evaluation.accuracy), -evaluation.loss, evaluation.step) for evaluation in result.history]
    assert max(ranks)[2] < 8
    assert "after 8 steps" in result.message


def test_budget_is_no_success(trained):
    result = invert(trained, SHORT.model_copy(update={"least_spread": 0.0}), seeded_rng(0, "tests"))
    assert result.outcome == "budget"
    assert "give more steps" in result.message


def test_divergence_is_said_and_gives_no_pictures(trained):
    inverter = Inverter(SHORT.model_copy(update={"learning_rate": 1e30}), trained, seeded_rng(0, "tests"))
    before = weights_of(inverter.generator)
    result = inverter.run(trained)
    assert result.outcome == "diverged"
    assert "not finite" in result.message
    assert "learning_rate" in result.message
    for sampler in (result, inverter):
        with pytest.raises(SettingError, match="nothing to draw"):
            sampler.sample(LABELS, seeded_rng(0, "tests"))
    assert weights_of(inverter.generator) == before
    assert not inverter.optimizer.state_dict()["state"]


def test_divergence_after_a_good_evaluation_gives_no_pictures_either(trained):
    target = deepcopy(trained)
    inverter = Inverter(SHORT, target, seeded_rng(0, "tests"))
    inverter.run(target)
    state = deepcopy(inverter.state_dict())
    target.head.weight.data[0, 0] = torch.nan
    assert inverter.run(target).outcome == "diverged"
    assert str(inverter.state_dict()) == str(state)
    target.head.weight.data[0, 0] = 0
    assert inverter.run(target).outcome != "diverged"


class Copying(generators.Upsampling):
    """Draws the same for any noise."""

    def forward(self, noise, condition):
        """Return images."""
        return super().forward(0 * noise, condition)


def test_collapse_is_said(trained, monkeypatch):
    monkeypatch.setitem(GENERATORS, "upsample", Copying)
    result = invert(trained, SHORT.model_copy(update={"mode": "label"}), seeded_rng(0, "tests"))
    assert result.outcome == "collapsed"
    assert "copies" in result.message
    assert diagnose(result, trained, seeded_rng(0, "tests"), per_class=5).distinct == 0


def test_every_mode_generator_and_objective_runs(trained):
    for mode in MODES:
        invert(trained, SHORT.model_copy(update={"mode": mode, "steps": 1}), seeded_rng(0, "tests"))
    for name in GENERATORS:
        invert(
            trained, SHORT.model_copy(update={"generator": name, "steps": 1, "batch_size": 4}), seeded_rng(0, "tests")
        )
    weights = dict.fromkeys(OBJECTIVES, 1.0)
    settings = SHORT.model_copy(update={"weights": weights})
    result = Inverter(settings, trained, seeded_rng(0, "tests"), centre=torch.zeros(1, 8, 8)).run(trained)
    assert set(result.history[0].objectives) == set(OBJECTIVES)


def test_objective_that_the_target_cannot_serve_is_skipped_and_said(new_target):
    result = invert(new_target("mlp"), SHORT, seeded_rng(0, "tests"))
    assert "batch-norm skipped, the target has no stored statistics" in result.message
    assert "batch-norm" not in result.history[0].objectives


def test_distance_draws_inversions_to_the_centre_and_counts_in_the_checkpoint(trained, tmp_path):
    settings = SHORT.model_copy(update={"steps": 100, "weights": {"cross-entropy": 0.01, "distance": 10.0}})
    means = [
        Inverter(settings, trained, seeded_rng(0, "tests"), centre=torch.full((1, 8, 8), level)).run(trained)
        for level in (0.2, 0.8)
    ]
    low, high = (inversion.sample(LABELS, seeded_rng(0, "tests")).mean().item() for inversion in means)
    assert low < 0.35
    assert high > 0.65
    path = tmp_path / "work.pt"
    Inverter(SHORT, trained, seeded_rng(0, "tests"), centre=torch.zeros(1, 8, 8)).run(trained, checkpoint=path)
    with pytest.raises(RunFolderError, match="another inversion"):
        Inverter(SHORT, trained, seeded_rng(0, "tests"), centre=torch.ones(1, 8, 8)).run(trained, checkpoint=path)


def test_garbage_class_is_never_wanted(new_target):
    target = new_target("small-cnn", classes=4, garbage=True)
    target.head.bias.data[4] = 50.0
    result = invert(target, SHORT, seeded_rng(0, "tests"))
    assert result.classes == 4
    assert result.history[-1].accuracy == (0.0,) * 4
    assert result.sample(torch.arange(4), seeded_rng(0, "tests")).shape == (4, 1, 8, 8)


def test_batches_of_many_classes_hold_pairs(new_target):
    target = new_target("small-cnn", classes=30)
    inverter = Inverter(SHORT, target, seeded_rng(0, "tests"))
    seen = set()
    for _ in range(40):
        _, condition = inverter._batch(torch.device("cpu"))
        assert condition.labels.bincount()[condition.labels].min() >= engine.PAIRS
        seen |= set(condition.labels.tolist())
    assert seen == set(range(30))


def test_warm_generator_goes_on_from_its_state(trained):
    rng = seeded_rng(0, "tests")
    warm = Inverter(SHORT, trained, rng)
    warm.run(trained)
    state, rng_state = deepcopy(warm.state_dict()), rng.get_state()
    second = warm.run(trained, 2)
    assert [evaluation.step for evaluation in second.history] == [2]
    other = Inverter(SHORT, trained, seeded_rng(9, "tests"))
    other.load_state_dict(state)
    other.rng.set_state(rng_state)
    assert weights_of(other.run(trained, 2).generator) == weights_of(second.generator)


def test_an_inversion_does_not_change_with_later_runs(trained):
    warm = Inverter(SHORT, trained, seeded_rng(0, "tests"))
    first = warm.run(trained)
    before = weights_of(first.generator)
    warm.run(trained)
    assert weights_of(first.generator) == before != weights_of(warm.generator)


def test_untrained_generator_gives_no_pictures(trained):
    with pytest.raises(SettingError, match="call run first"):
        Inverter(SHORT, trained, seeded_rng(0, "tests")).sample(LABELS, seeded_rng(0, "tests"))


def test_precision_of_training_leaves_images_in_float32(trained):
    result = invert(trained, SHORT.model_copy(update={"precision": "bfloat16"}), seeded_rng(0, "tests"))
    assert result.sample(LABELS, seeded_rng(0, "tests")).dtype == torch.float32


@pytest.mark.gpu
# Torch says so once; what it does detect is what is tested.
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_host_never_waits_for_the_device_inside_a_step(trained):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    target: Target = deepcopy(trained).to("cuda")
    inverter = Inverter(InversionSettings(steps=4), target, seeded_rng(0, "tests"))
    inverter.run(target)
    noise, condition = inverter._batch(target.device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            noise, condition = inverter._batch(target.device)
            target(inverter.generator(noise, condition)).sum().backward()
            inverter.optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_passes_that_some_objectives_ask_for_do_not_count_in_the_others(trained):
    few = SHORT.model_copy(update={"steps": 1, "weights": {"cross-entropy": 1.0, "batch-norm": 1.0}})
    extra = {"kl-perturbed": 1.0, "gradient-norm-all": 1.0}
    many = few.model_copy(update={"weights": few.weights | extra})
    alone, beside = (
        invert(trained, settings, seeded_rng(0, "tests")).history[0].objectives for settings in (few, many)
    )
    assert {name: beside[name] for name in alone} == alone
