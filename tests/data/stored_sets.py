"""Small image sets in the layout of every kind of data source."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (6, 9, 8), dtype=np.uint8)
RGB = rng.integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)
LABELS = np.arange(6)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty data folder, which is also the working directory."""
    monkeypatch.setenv("INVAUDIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_png(path: Path, image: NDArray[np.unsignedinteger]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(head + values.tobytes())


def every_kind(root: Path) -> dict[str, str]:
    """Store one set for each kind of source and return kind -> DATA text; the first six labels are 0 to 5."""
    np.savez(root / "set.npz", train_images=GREY[:2], train_labels=LABELS[:2], test_images=GREY, test_labels=LABELS)
    for image, label in zip(GREY, LABELS, strict=True):
        write_png(root / "folder" / f"class-{label}" / "a.png", image)
    pictures = [f"folder/class-{label}/a.png\t{label}" for label in LABELS]
    (root / "list.txt").write_text("\n".join(pictures))
    for name, part in (("t10k", slice(None)), ("train", slice(2))):
        write_idx(root / "MNIST" / "raw" / f"{name}-images-idx3-ubyte", np.pad(GREY, ((0, 0), (9, 10), (10, 10)))[part])
        write_idx(root / "MNIST" / "raw" / f"{name}-labels-idx1-ubyte", LABELS.astype(np.uint8)[part])
    encoded = [(root / "folder" / f"class-{label}" / "a.png").read_bytes() for label in LABELS]
    pq.write_table(pa.table({"image": encoded, "label": LABELS}), root / "set.parquet", row_group_size=4)
    return {
        "builtin": "digits",
        "npz": "set",
        "table": "set.parquet",
        "folder": "folder/",
        "file": "list.txt",
        "torchvision": "mnist",
    }
