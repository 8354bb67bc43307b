"""The contract of every reconstruction method, and what inversion and DeepInversion promise beyond it."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from invaudit.data import seeded_rng
from invaudit.data.digits import digits
from invaudit.inversion import OBJECTIVES
from invaudit.leakage import METHODS, Reconstructions, generator_attack, reconstruct
from invaudit.models import InputSpec, Target, build, checkpoints, limit_threads
from invaudit.models.devices import seed_torch
from invaudit.runtime.errors import RunFolderError, SettingError, ShapeError

SHORT = {"steps": 6, "eval_every": 2, "images": 20}
INVERTED = SHORT | {"restarts": 2, "eval_images": 4, "batch_size": 20, "noise": 8}
SETTINGS = {
    "generator": INVERTED,
    "tldr": INVERTED,
    "deepinversion": SHORT | {"batch_size": 10},
    "kkt": {"images": 20, "restarts": 2, "steps": 6, "record_every": 2},
}
CHECKPOINTS = {"generator": 2, "tldr": 2, "deepinversion": 2, "kkt": 1}
OURS = ("generator", "tldr", "deepinversion")
SPEC = InputSpec(1, 8, 8, mean=(0.3,), std=(0.4,))


def new_target(arch: str, classes: int = 10) -> Target:
    with seed_torch(seeded_rng(0, "tests/weights")):
        return Target(build(arch, SPEC, classes), SPEC, classes).eval()


@pytest.fixture(autouse=True)
def one_thread():
    with limit_threads(1):
        yield


@pytest.fixture(scope="module")
def reference() -> torch.Tensor:
    return digits().floats(slice(1000, 1400))


@pytest.fixture(scope="module")
def target() -> Target:
    """Return a perceptron that has memorised 40 digits."""
    target = new_target("mlp-100")
    images, labels = digits().floats(slice(0, 40)), digits().labels[:40]
    with limit_threads(1):
        optimizer = torch.optim.SGD(target.parameters(), 0.5)
        for _ in range(200):
            optimizer.zero_grad()
            functional.cross_entropy(target(images), labels).backward()
            optimizer.step()
    target.zero_grad(set_to_none=True)
    return target


def run(method: str, target: Target, *, seed: int = 0, settings: dict | None = None, **options) -> Reconstructions:
    return reconstruct(target, method, SETTINGS[method] | (settings or {}), seeded_rng(seed, "tests"), **options)


def same(first: Reconstructions, second: Reconstructions) -> bool:
    tensors = all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("images", "labels", "restart"))
    return tensors and (first.outcome, first.history, first.message) == (
        second.outcome,
        second.history,
        second.message,
    )


@pytest.mark.parametrize("method", METHODS)
def test_images_are_in_range_balanced_and_numbered_by_restart(method, target, reference):
    state = torch.get_rng_state()
    reconstructions = run(method, target, reference=reference)
    restarts = SETTINGS[method].get("restarts", 1)
    assert reconstructions.images.shape == (20 * restarts, 1, 8, 8)
    assert reconstructions.images.dtype == torch.float32
    assert 0 <= reconstructions.images.min() <= reconstructions.images.max() <= 1
    assert torch.equal(reconstructions.labels.bincount(), torch.full((10,), 2 * restarts))
    assert torch.equal(reconstructions.restart.bincount(), torch.full((restarts,), 20))
    assert reconstructions.outcome in ("converged", "budget", "collapsed")
    assert reconstructions.message
    assert reconstructions.seconds > 0
    assert all(len(values) for values in reconstructions.history.values())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_bytes(method, target, reference):
    first, again, other = (run(method, target, seed=seed, reference=reference) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_target_is_given_back_as_it_was(method, target, reference):
    guest = deepcopy(target).train()
    for index, value in enumerate(guest.parameters()):
        value.requires_grad_(index % 2 == 0)
    modes, grads = [part.training for part in guest.modules()], [value.requires_grad for value in guest.parameters()]
    before = guest.hash
    run(method, guest, reference=reference)
    assert guest.hash == before
    assert [part.training for part in guest.modules()] == modes
    assert [value.requires_grad for value in guest.parameters()] == grads
    assert all(value.grad is None for value in guest.parameters())
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in guest.modules())


class Killing:
    """Writes and is killed after a number of files."""

    def __init__(self, write, stop):
        self.write, self.left = write, stop

    def __call__(self, path, data):
        self.write(path, data)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 3, 4])
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_search_resumes_to_the_same_bytes(method, stop, target, reference, tmp_path, monkeypatch):
    whole, path = run(method, target, reference=reference), tmp_path / "work.pt"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_bytes", Killing(checkpoints.write_bytes, stop))
        with pytest.raises(KeyboardInterrupt):
            run(method, target, reference=reference, checkpoint=path)
    assert same(run(method, target, reference=reference, checkpoint=path), whole)
    assert len(list(tmp_path.iterdir())) == CHECKPOINTS[method]
    assert same(run(method, target, reference=reference, checkpoint=path), whole)


@pytest.mark.parametrize("change", ["seed", "settings", "target", "reference"])
@pytest.mark.parametrize("method", METHODS)
def test_the_checkpoint_of_another_search_is_refused(method, change, target, reference, tmp_path):
    options = {"seed": 0, "settings": {}, "target": target, "reference": reference}
    other = {"seed": 1, "settings": {"images": 30}, "target": new_target("mlp-100"), "reference": reference[:100]}
    if change == "settings" and method in ("generator", "tldr"):
        other["settings"] = {"learning_rate": 1e-3}
    run(method, **options, checkpoint=tmp_path / "work.pt")
    with pytest.raises(RunFolderError, match="another"):
        run(method, **options | {change: other[change]}, checkpoint=tmp_path / "work.pt")


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


@pytest.mark.parametrize("method", METHODS)
def test_reference_of_another_shape_is_refused(method, target):
    with pytest.raises(ShapeError, match=r"\(5, 1, 9, 9\)|\(1, 9, 9\)"):
        run(method, target, reference=torch.zeros(5, 1, 9, 9))


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
    settings = SETTINGS["deepinversion"] | {"jitter": 0.0}
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


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_a_target_on_a_gpu_gives_images_on_the_cpu(method, target, reference, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_gpu = deepcopy(target).to("cuda")
    reconstructions = run(method, on_gpu, reference=reference, checkpoint=tmp_path / "work.pt")
    assert {
        value.device.type for value in (reconstructions.images, reconstructions.labels, reconstructions.restart)
    } == {"cpu"}
    assert same(run(method, on_gpu, reference=reference, checkpoint=tmp_path / "work.pt"), reconstructions)
