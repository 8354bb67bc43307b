"""Image sets and generators."""

import pytest
import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.runtime.errors import DataError, ShapeError
from invaudit.runtime.seeds import child_seed


def some(n: int = 5, channels: int = 1) -> ImageSet:
    images = torch.randint(256, (n, channels, 9, 8), dtype=torch.uint8, generator=seeded_rng(0, "test"))
    return ImageSet("some", images, torch.arange(n))


def test_floats_are_the_bytes_over_255_and_a_copy() -> None:
    images = some()
    floats = images.floats()
    assert floats.dtype == torch.float32
    assert torch.equal(floats, images.images / 255)
    assert torch.equal(images.floats(slice(1, 3)), floats[1:3])
    assert torch.equal(images.floats(torch.tensor([4, 0])), floats[[4, 0]])
    before = images.images.clone()
    floats.zero_()
    assert torch.equal(images.images, before)


@pytest.mark.parametrize("index", [slice(1, 4), torch.tensor([3, 1]), torch.tensor([True, False, True, False, False])])
def test_subset_keeps_images_and_labels_together(index: torch.Tensor | slice) -> None:
    images = some()
    part = images.subset(index)
    assert part.name == "some"
    assert torch.equal(part.images, images.images[part.labels])


def test_hash_follows_content_and_not_the_name() -> None:
    images = some()
    assert images.hash == ImageSet("other", images.images.clone(), images.labels.clone()).hash
    assert images.hash != ImageSet("some", images.images, images.labels.flip(0)).hash
    assert images.hash != ImageSet("some", images.images.flip(0), images.labels).hash
    assert images.hash != ImageSet("some", images.images.view(5, 1, 8, 9), images.labels).hash


def test_classes_count_from_the_largest_label() -> None:
    assert some().classes == 5
    assert ImageSet("x", some().images, torch.full((5,), -1)).classes == 0


@pytest.mark.parametrize(
    ("images", "labels", "error"),
    [
        (torch.zeros(2, 8, 8, dtype=torch.uint8), torch.zeros(2).long(), ShapeError),
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), torch.zeros(2).long(), ShapeError),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3).long(), ShapeError),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2).long(), DataError),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2), DataError),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0).long(), DataError),
    ],
)
def test_what_is_no_image_set_is_refused(images: torch.Tensor, labels: torch.Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match="some"):
        ImageSet("some", images, labels)


def test_generators_are_named_and_repeatable() -> None:
    keys = ((1, "a", 0), (1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1))
    draws = [torch.rand(4, generator=seeded_rng(*key)) for key in keys]
    assert torch.equal(draws[0], draws[1])
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    assert seeded_rng(1, "a").initial_seed() == child_seed(1, "a")
