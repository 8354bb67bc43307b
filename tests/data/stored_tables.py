"""Pictures in tables, stored as Hugging Face stores them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = {"_type": "Image"}


def classes(*names: str) -> dict[str, Any]:
    return {"_type": "ClassLabel", "names": list(names)}


def table(columns: Mapping[str, Any], features: Mapping[str, Any] | None = None) -> pa.Table:
    """Return a table, which says of its columns what the package datasets would say."""
    made = pa.table(dict(columns))
    if features is None:
        return made
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def embedded(files: Sequence[Path], *, named: bool = True) -> list[dict[str, Any]]:
    """Return picture files as rows of the feature Image."""
    return [{"bytes": file.read_bytes(), "path": file.name if named else None} for file in files]


def write_parquet(path: Path, stored: pa.Table, rows: int | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(stored, path, row_group_size=rows, **options)


def write_saved(folder: Path, *shards: pa.Table, split: str | None = None, **state: Any) -> None:
    """Write a folder as Dataset.save_to_disk does; names of files are not in the order of the shards."""
    folder.mkdir(parents=True)
    names = [f"data-{len(shards) - number:05}-of-{len(shards):05}.arrow" for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        with pa.ipc.new_stream(str(folder / name), shard.schema) as stream:
            stream.write_table(shard, 3)
    state = {"_data_files": [{"filename": name} for name in names], "_split": split, **state}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def write_saved_splits(folder: Path, **splits: pa.Table) -> None:
    """Write a folder as DatasetDict.save_to_disk does."""
    for split, stored in splits.items():
        write_saved(folder / split, stored, split=split)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
