"""Moving pixels: the loop against steps by hand, its range, and what happens to a search that ends early."""

import pytest
import torch

from invaudit.inversion.pixels import SignDescent, optimise_pixels, run_search
from invaudit.models.checkpoints import Checkpoint
from invaudit.runtime.errors import RunFolderError


def squares_to(goal, images):
    return lambda _step: (images - goal).square().sum()


def test_images_go_to_the_least_of_the_loss_and_never_leave_the_range(rng):
    images = torch.rand(3, 1, 4, 4, generator=rng).requires_grad_()
    goal = torch.tensor([-1.0, 0.4, 2.0]).view(3, 1, 1, 1)
    seen = []

    def loss(step):
        seen.append((step, float(images.detach().min()), float(images.detach().max())))
        return (images - goal).square().sum()

    optimise_pixels(images, loss, torch.optim.Adam([images], 0.05), range(5, 305))
    torch.testing.assert_close(images.detach(), goal.clamp(0, 1).expand_as(images), atol=0.01, rtol=0)
    assert [step for step, _, _ in seen] == list(range(5, 305))
    assert min(least for _, least, _ in seen) >= 0
    assert max(most for _, _, most in seen) <= 1


def test_sign_steps_by_hand():
    start = torch.tensor([0.5, 0.05, 0.5, 0.97]).view(1, 1, 2, 2)
    slope = torch.tensor([3.0, 0.1, 0.0, -7.0]).view(1, 1, 2, 2)
    images = start.clone().requires_grad_()
    optimise_pixels(images, lambda _step: (slope * images).sum(), SignDescent(images, 0.1), range(2))
    expected = torch.tensor([0.3, 0.0, 0.5, 1.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(images.detach(), expected)


def test_no_steps_change_nothing(rng):
    images = torch.rand(2, 1, 3, 3, generator=rng).requires_grad_()
    before = images.detach().clone()
    optimise_pixels(images, squares_to(0.0, images), SignDescent(images, 0.1), range(0))
    assert torch.equal(images, before)


def test_what_is_searched_along_with_the_images_may_leave_the_range():
    images = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    multiplier = torch.tensor(0.5, requires_grad=True)
    optimizer = torch.optim.SGD([images, multiplier], 1.0)
    optimise_pixels(images, lambda _step: 3 * images.mean() + 3 * multiplier, optimizer, range(2))
    assert torch.equal(images, torch.zeros(1, 1, 2, 2))
    assert multiplier.item() == pytest.approx(-5.5)


def test_a_schedule_is_asked_before_every_step():
    images = torch.zeros(1, 1, 1, 1, requires_grad=True)
    optimizer = torch.optim.SGD([images], 1.0)
    rates = [0.1, 0.2, 0.4]

    def set_rate(step):
        optimizer.param_groups[0]["lr"] = rates[step]

    optimise_pixels(images, lambda _step: -images.sum(), optimizer, range(3), before_step=set_rate)
    assert images.item() == pytest.approx(sum(rates))


class Counting:
    """A search of five records that may find nothing more after some of them."""

    def __init__(self, ends_after=5):
        self.records, self.ends_after = [], ends_after

    @property
    def records_left(self):
        return 0 if len(self.records) >= self.ends_after else 5 - len(self.records)

    def advance(self):
        self.records.append(len(self.records))

    def state_dict(self):
        return {"records": self.records}

    def load_state_dict(self, state):
        self.records = state["records"]


@pytest.mark.parametrize(("ends_after", "records"), [(5, 5), (2, 2), (0, 0)])
def test_a_search_runs_until_no_record_is_left(ends_after, records):
    search = Counting(ends_after)
    run_search(search, None, label="search")
    assert search.records == list(range(records))


def test_a_killed_search_goes_on_after_its_last_record(tmp_path, killed_after):
    from invaudit.models import checkpoints

    checkpoint = Checkpoint(tmp_path / "search.pt", "identity", "search")
    written = killed_after(checkpoints, 3)
    with pytest.raises(KeyboardInterrupt):
        run_search(Counting(), checkpoint, label="search")
    resumed = Counting()
    run_search(resumed, checkpoint, label="search")
    assert resumed.records == [0, 1, 2, 3, 4]
    assert len(written) == 5
    with pytest.raises(RunFolderError, match="another search"):
        run_search(Counting(), Checkpoint(tmp_path / "search.pt", "other", "search"), label="search")
