"""The training loop: it learns, repeats and resumes."""

import itertools

import pytest
import torch
from torch import nn

from invaudit.data import ImageSet, seeded_rng
from invaudit.data.digits import digits
from invaudit.models import Outliers, Target, TrainingSettings, accuracy, checkpoints, collect, train, training
from invaudit.runtime.errors import RunFolderError, SettingError

pytestmark = pytest.mark.slow

QUICK = TrainingSettings(epochs=3, batch_size=32, precision="float32")


@pytest.fixture(scope="module")
def parts() -> tuple[ImageSet, ImageSet]:
    images = digits()
    order = torch.randperm(len(images), generator=seeded_rng(0, "tests/split"))
    return images.subset(order[:1400]), images.subset(order[1400:])


@pytest.fixture(scope="module")
def few(parts) -> ImageSet:
    return parts[0].subset(slice(0, 200))


def right(target: Target, images: ImageSet) -> float:
    return accuracy(collect(target, images).logits.argmax(1), images.labels)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_digits_are_learnt(precision, parts, make):
    target = make("small-cnn", classes=10)
    history = train(target, parts[0], TrainingSettings(epochs=4), seeded_rng(0, "tests"), precision=precision)
    assert right(target, parts[1]) > 0.9
    assert history.steps == 4 * 11
    assert len(history.loss) == 4
    assert history.loss[-1] < history.loss[0]
    assert not target.training
    assert all(value.dtype == torch.float32 for value in target.parameters())


def test_same_seed_same_bytes_and_global_randomness_untouched(few, make):
    state = torch.get_rng_state()
    hashes = []
    for seed in (0, 0, 1):
        target = make("small-cnn", classes=10)
        train(target, few, QUICK, seeded_rng(seed, "tests"))
        hashes.append(target.hash)
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_killed_training_resumes_to_the_same_bytes(stop, few, make, tmp_path, monkeypatch, killed_after):
    settings = QUICK.model_copy(update={"shift": 1, "label_smoothing": 0.1})
    whole, resumed, path = make("small-cnn", classes=10), make("small-cnn", classes=10), tmp_path / "work.pt"
    expected = train(whole, few, settings, seeded_rng(0, "tests"))
    written, ticks = killed_after(checkpoints, stop), itertools.count()
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(ticks))
    with pytest.raises(KeyboardInterrupt):
        train(make("small-cnn", classes=10), few, settings, seeded_rng(0, "tests"), checkpoint=path)
    history = train(resumed, few, settings, seeded_rng(0, "tests"), checkpoint=path)
    assert len(written) == 3
    assert resumed.hash == whole.hash
    assert history == expected
    assert history.seconds == len(history.loss), "one tick of the clock an epoch, those before the kill included"


@pytest.mark.parametrize("change", ["images", "settings", "seed", "precision", "start", "identity"])
def test_a_checkpoint_that_began_otherwise_is_refused(change, few, make, tmp_path):
    path, target = tmp_path / "work.pt", make("small-cnn", classes=10)
    train(make("small-cnn", classes=10), few, QUICK, seeded_rng(0, "tests"), checkpoint=path)
    data = few.subset(slice(1, None)) if change == "images" else few
    settings = QUICK.model_copy(update={"learning_rate": 0.1}) if change == "settings" else QUICK
    if change == "start":
        with torch.no_grad():
            target.head.weight.add_(1)
    with pytest.raises(RunFolderError, match="another training"):
        train(target, data, settings, seeded_rng(int(change == "seed"), "tests"), checkpoint=path,
              precision=torch.bfloat16 if change == "precision" else torch.float32,
              identity="other" if change == "identity" else "")  # fmt: skip


def test_checkpoint_of_another_training_is_refused(few, make, tmp_path):
    path = tmp_path / "work.pt"
    train(make("small-cnn", classes=10), few, QUICK, seeded_rng(0, "tests"), checkpoint=path)
    with pytest.raises(RunFolderError, match="another training"):
        train(
            make("small-cnn", classes=10), few, QUICK, seeded_rng(0, "tests"), checkpoint=path,
            state={"more": training.History(0, [])},
        )  # fmt: skip


def test_after_step_is_called_and_further_state_is_resumed(few, make, tmp_path):
    path, seen = tmp_path / "work.pt", []
    more = training.History(5, [1.0])
    done = train(make("small-cnn", classes=10), few, QUICK, seeded_rng(0, "tests"), after_step=seen.append,
                 checkpoint=path, state={"more": more})  # fmt: skip
    assert seen == list(range(1, done.steps + 1))
    fresh = training.History(0, [])
    train(make("small-cnn", classes=10), few, QUICK, seeded_rng(0, "tests"), after_step=seen.append,
          checkpoint=path, state={"more": fresh})  # fmt: skip
    assert len(seen) == done.steps
    assert fresh == more


def test_garbage_class_learns_its_outliers(few, make):
    draws = seeded_rng(0, "tests/garbage")
    outliers = Outliers(lambda n, images, _labels: torch.rand((n, *images.shape[1:]), generator=draws), 0.5, 1.0)
    target = make("small-cnn", classes=10, garbage=True)
    train(target, few, QUICK.model_copy(update={"epochs": 6}), seeded_rng(0, "tests"), outliers=outliers)
    noise = torch.rand((100, 1, 8, 8), generator=draws)
    assert (collect(target, noise).logits.argmax(1) == 10).double().mean() > 0.9


def test_garbage_of_weight_zero_says_nothing(few, make):
    target = make("mlp-20", classes=10, garbage=True)
    images, labels = few.floats(slice(0, 8)), few.labels[:8]
    outliers = Outliers(lambda n, _images, _labels: few.floats(slice(8, 8 + n)), 0.5, 0.0)
    loss = training._step(target, images, labels, QUICK, torch.float32, outliers, None)
    expected = nn.functional.cross_entropy(target(images), labels)
    torch.testing.assert_close(loss, expected)


def test_garbage_adds_to_the_loss_and_does_not_dilute_it(few, make):
    target = make("small-cnn", classes=10, garbage=True)
    images, labels = few.floats(slice(0, 8)), few.labels[:8]
    extra = few.floats(slice(8, 12))
    outliers = Outliers(lambda n, _images, _labels: extra[:n], 0.5, 0.5)
    loss = training._step(target, images, labels, QUICK, torch.float32, outliers, None)
    with torch.no_grad():
        id_losses = -target(images).log_softmax(1)[torch.arange(8), labels]
        garbage_losses = -target(extra).log_softmax(1)[:, 10]
    torch.testing.assert_close(loss.detach(), (id_losses.sum() + 0.5 * garbage_losses.sum()) / 8)


def test_a_smaller_batch_has_fewer_outliers_but_one(few, make):
    seen = []

    def draw(n, images, _labels):
        seen.append((len(images), n))
        return images[:n]

    data = few.subset(slice(0, 2 * QUICK.batch_size + 2))
    target = make("small-cnn", classes=10, garbage=True)
    train(
        target, data, QUICK.model_copy(update={"epochs": 1}), seeded_rng(0, "tests"), outliers=Outliers(draw, 0.25, 1)
    )
    assert seen == [*[(QUICK.batch_size, round(0.25 * QUICK.batch_size))] * 2, (2, 1)]


def test_labels_that_do_not_fit_are_refused(few, make):
    with pytest.raises(SettingError, match="labels 0 to 4"):
        train(make("small-cnn"), few, QUICK, seeded_rng(0, "tests"))
    negative = ImageSet("odd", few.images[:4], torch.tensor([0, 1, -1, 2]))
    with pytest.raises(SettingError, match="odd"):
        train(make("small-cnn"), negative, QUICK, seeded_rng(0, "tests"))
    with pytest.raises(SettingError, match="1 images"):
        train(make("small-cnn", classes=10), few.subset(slice(0, 1)), QUICK, seeded_rng(0, "tests"))


@pytest.mark.parametrize(("n", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (3, [3]), (5, [5])])
def test_one_image_alone_joins_the_batch_before(n, sizes, few, make, monkeypatch):
    settings, seen = TrainingSettings(epochs=1, batch_size=4, precision="float32"), []
    step = training._step

    def watched(target, images, *options):
        seen.append(len(images))
        return step(target, images, *options)

    monkeypatch.setattr(training, "_step", watched)
    target = make("resnet18", classes=10)  # its last map is of one pixel
    history = train(target, few.subset(slice(0, n)), settings, seeded_rng(0, "tests"))
    assert seen == sizes
    assert history.steps == settings.steps_per_epoch(n) == len(sizes)
    assert all(value.isfinite().all() for value in target.parameters())


def test_shifted_images_by_loops():
    images = torch.rand((5, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    moved = training.shifted(images, 2, torch.Generator().manual_seed(1))
    top, left = torch.randint(5, (2, 5, 1), generator=torch.Generator().manual_seed(1))
    for n in range(5):
        for y in range(4):
            for x in range(6):
                row = min(max(y + int(top[n]) - 2, 0), 3)
                column = min(max(x + int(left[n]) - 2, 0), 5)
                assert torch.equal(moved[n, :, y, x], images[n, :, row, column])
