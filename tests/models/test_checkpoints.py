"""Checkpoints: what is saved is loaded, and only by the work that it belongs to."""

import pytest
import torch

from invaudit.models.checkpoints import Checkpoint
from invaudit.runtime.errors import RunFolderError


@pytest.fixture
def checkpoint(tmp_path) -> Checkpoint:
    return Checkpoint(tmp_path / "work" / "state.pt", "identity", "search")


def test_what_was_saved_last_is_loaded_to_the_bit(checkpoint, rng):
    assert checkpoint.load() is None
    images = torch.rand(3, 1, 4, 4, generator=rng)
    for step in (1, 2):
        checkpoint.save({"step": step, "images": images * step, "losses": [0.5, 1e-30]})
    state = checkpoint.load()
    assert set(state) == {"step", "images", "losses"}
    assert (state["step"], state["losses"]) == (2, [0.5, 1e-30])
    assert torch.equal(state["images"], images * 2)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["state.pt"]


def test_other_work_is_refused_by_name(checkpoint):
    checkpoint.save({"step": 1})
    with pytest.raises(RunFolderError, match=r"state.pt is the checkpoint of another search; remove it or choose"):
        Checkpoint(checkpoint.path, "another identity", "search").load()


def test_a_file_of_tensors_that_is_no_checkpoint_is_refused(checkpoint):
    checkpoint.path.parent.mkdir()
    torch.save({"step": 1}, checkpoint.path)
    with pytest.raises(RunFolderError, match="another search"):
        checkpoint.load()


def test_a_kill_while_it_is_written_leaves_the_state_before(checkpoint, monkeypatch):
    checkpoint.save({"step": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"step": 2})
    monkeypatch.undo()
    assert checkpoint.load() == {"step": 1}
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["state.pt"]


class Harmful:
    """Would run a command where it is unpickled."""

    def __reduce__(self):
        return print, ("harm",)


def test_code_in_a_checkpoint_is_not_run(checkpoint, capsys):
    checkpoint.path.parent.mkdir()
    torch.save({"identity": "identity", "step": Harmful()}, checkpoint.path)
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint.load()
    assert "harm" not in capsys.readouterr().out
