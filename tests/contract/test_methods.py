"""What every reconstruction method promises: images in range, one seed one result, a borrowed target, safe resuming."""

from copy import deepcopy

import pytest
import torch

from invaudit.leakage import METHODS
from invaudit.models import checkpoints
from invaudit.runtime.errors import RunFolderError, ShapeError
from tests.leakage.short_runs import new_target, run, same, short_settings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", METHODS)
def test_images_are_in_range_balanced_and_numbered_by_restart(method, target, reference):
    state = torch.get_rng_state()
    reconstructions = run(method, target, reference=reference)
    restarts = short_settings(method).get("restarts", 1)
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
    assert same(run(method, target, reference=reference, checkpoint=path), whole)
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    run(method, target, reference=reference, checkpoint=unbroken / "work.pt")
    files = [sorted(file.name for file in folder.iterdir() if file.is_file()) for folder in (tmp_path, unbroken)]
    assert files[0] == files[1]


@pytest.mark.parametrize("change", ["seed", "settings", "target", "reference"])
@pytest.mark.parametrize("method", METHODS)
def test_the_checkpoint_of_another_search_is_refused(method, change, target, reference, tmp_path):
    options = {"seed": 0, "settings": {}, "target": target, "reference": reference}
    settings = {"learning_rate": 1e-3}
    other = {"seed": 1, "settings": settings, "target": new_target("mlp-100"), "reference": reference[:100]}
    run(method, **options, checkpoint=tmp_path / "work.pt")
    with pytest.raises(RunFolderError, match="another"):
        run(method, **options | {change: other[change]}, checkpoint=tmp_path / "work.pt")


@pytest.mark.parametrize("method", METHODS)
def test_reference_of_another_shape_is_refused(method, target):
    with pytest.raises(ShapeError, match=r"\(5, 1, 9, 9\)|\(1, 9, 9\)"):
        run(method, target, reference=torch.zeros(5, 1, 9, 9))


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
