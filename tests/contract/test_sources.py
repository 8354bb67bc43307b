"""What every kind of data source promises: an image set, and slices of it."""

from pathlib import Path

import pytest
import torch

from invaudit.data import SOURCES, load
from invaudit.runtime.errors import DataError
from tests.data.stored_sets import every_kind


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_an_image_set(kind: str, root: Path) -> None:
    texts = every_kind(root)
    assert kind in texts, f"store a set of the kind {kind} in every_kind of tests/data/stored_sets.py"
    text = texts[kind]
    images = load(text)
    assert images.name == text.removesuffix("/")
    assert images.images.dtype == torch.uint8
    assert images.images.is_contiguous()
    assert images.labels.dtype == torch.int64
    assert images.labels[:6].tolist() == list(range(6))
    assert load(text).hash == images.hash
    part = load(f"{text}@1:4")
    assert torch.equal(part.images, images.images[1:4])
    assert torch.equal(load(f"{text}@3:").labels, images.labels[3:])
    assert torch.equal(load(f"{text}@:2").labels, images.labels[:2])
    assert torch.equal(load(f"{text}@1::2").labels, images.labels[1::2])
    assert torch.equal(load(f"{text}@0:3:2").labels, images.labels[:3:2])
    with pytest.raises(DataError, match=f"past the end: .* has {len(images)} images"):
        load(f"{text}@0:{len(images) + 1}")
    with pytest.raises(DataError, match="no image"):
        load(f"{text}@2:2")
