"""The second network: one that is given has to fit; one that we train is kept, found again, and never guesses."""

from dataclasses import replace

import pytest
import torch

from invaudit.data import ImageSet
from invaudit.explain import second as module
from invaudit.explain.second import SecondSettings, given_second, trained_second
from invaudit.models import InputSpec, Target, TrainingSettings, build
from invaudit.runtime.errors import DataError, ModelError, ShapeError

QUICK = SecondSettings(arch="small-cnn", training=TrainingSettings(epochs=3, shift=1))


def network(classes: int = 10, shape: tuple[int, int, int] = (1, 8, 8), names: tuple[str, ...] = ()) -> Target:
    spec = InputSpec(*shape)
    target = Target(build("tiny-cnn", spec, classes), spec)
    target.class_names = names
    return target


@pytest.fixture(scope="module")
def kept(trained, training_digits, held_out_digits, tmp_path_factory):
    """A folder with a second network, trained on the training digits."""
    folder = tmp_path_factory.mktemp("second")
    return folder, trained_second(trained, training_digits, folder, QUICK, held_out=held_out_digits)


def test_a_trained_network_is_good_and_kept(kept, trained, held_out_digits):
    folder, second = kept
    assert second.accuracy.value > 0.8
    assert second.accuracy.n == len(held_out_digits)
    assert second.seconds > 0
    assert list(folder.iterdir()) == [second.file]
    assert second.network.hash != trained.hash


def test_it_is_found_again_and_other_settings_or_images_are_another_network(
    kept, trained, training_digits, held_out_digits, monkeypatch
):
    folder, second = kept

    def refuse(*_args, **_options):
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(module, "train", refuse)
        again = trained_second(trained, training_digits, folder, QUICK, held_out=held_out_digits)
        assert again.network.hash == second.network.hash
        assert again.accuracy == second.accuracy
        assert again.seconds is None
        for changed in (
            {"settings": QUICK.model_copy(update={"epochs": 2})},
            {"data": training_digits.subset(slice(0, 800))},
            {"seed": 1},
        ):
            options = {"data": training_digits, "settings": QUICK, "held_out": held_out_digits} | changed
            with pytest.raises(AssertionError):
                trained_second(trained, folder=folder, **options)


def test_what_is_held_out_is_not_trained_on(trained, training_digits, tmp_path, monkeypatch):
    seen = []
    real_train = module.train

    def watching(target, images, *args, **options):
        seen.append(images)
        return real_train(target, images, *args, **options)

    monkeypatch.setattr(module, "train", watching)
    doubled = replace(
        training_digits,
        pixels=torch.cat([training_digits.images, training_digits.images[:300]]),
        labels=torch.cat([training_digits.labels, training_digits.labels[:300]]),
    )
    second = trained_second(trained, doubled, tmp_path, QUICK)
    assert not set(seen[0].image_hashes()) & set(second.held_out.image_hashes())
    counts = second.held_out.labels.bincount()
    assert (counts - 0.1 * doubled.labels.bincount()).abs().max() <= 1
    assert second.accuracy.value > 0.7


def test_a_network_that_learned_nothing_is_refused_and_leaves_nothing(
    trained, training_digits, held_out_digits, tmp_path, rng
):
    order = torch.randperm(len(training_digits), generator=rng)
    senseless = replace(training_digits, labels=training_digits.labels[order])
    with pytest.raises(ModelError, match=r"no better than guessing among 10 classes.*learning_rate"):
        trained_second(trained, senseless, tmp_path, QUICK, held_out=held_out_digits)
    assert list(tmp_path.iterdir()) == []


def test_a_given_network_is_measured(kept, trained, held_out_digits):
    _, second = kept
    given = given_second(second.network, trained, held_out_digits)
    assert given.accuracy == second.accuracy
    assert given_second(second.network, trained).accuracy is None


@pytest.mark.parametrize(
    ("second", "error", "message"),
    [
        (network(shape=(1, 9, 9)), ShapeError, r"takes images of \(1, 9, 9\), the model of \(1, 8, 8\)"),
        (network(classes=7), ModelError, "knows 7 classes, the model 10"),
        (network(names=tuple("1023456789")), ModelError, "class 0 of the second model is '1', of the model '0'"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_with_both_named(trained, second, error, message, monkeypatch):
    monkeypatch.setattr(trained, "class_names", tuple("0123456789"))
    with pytest.raises(error, match=message):
        given_second(second, trained)


def test_the_target_itself_and_a_network_that_guesses_are_refused(trained, held_out_digits):
    with pytest.raises(ModelError, match="the model itself"):
        given_second(trained, trained)
    of_one_class = network()
    torch.nn.init.zeros_(of_one_class.head.weight)
    with pytest.raises(ModelError, match="no better than guessing"):
        given_second(of_one_class, trained, held_out_digits)


def test_the_settings_of_grey_and_colour_images():
    grey, colour = (SecondSettings().resolved(InputSpec(channels, 32, 32)) for channels in (1, 3))
    assert (grey.epochs, grey.flip, grey.shift) == (8, False, 4)
    assert (colour.epochs, colour.flip, colour.shift, colour.weight_decay) == (24, True, 4, 0.05)
    assert SecondSettings(epochs=3).resolved(InputSpec(3, 32, 32)) == colour.model_copy(update={"epochs": 3})


def test_refusals(trained, training_digits, held_out_digits, tmp_path):
    unlabelled = replace(training_digits, labels=torch.full((len(training_digits),), -1))
    with pytest.raises(DataError, match="labels from -1 to -1, expected 0 to 9"):
        trained_second(trained, unlabelled, tmp_path)
    with pytest.raises(DataError, match="give others"):
        trained_second(trained, held_out_digits, tmp_path, held_out=held_out_digits)
    with pytest.raises(DataError, match="too few to hold some"):
        trained_second(trained, training_digits.subset(slice(0, 20)), tmp_path)
    large = ImageSet("large", torch.zeros((10, 1, 9, 9), dtype=torch.uint8), torch.arange(10))
    with pytest.raises(ShapeError, match="resize them"):
        trained_second(trained, large, tmp_path)
