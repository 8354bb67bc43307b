"""A fuzz in one process: right inputs, changed at random, are refused by an error of ours or taken, and nothing else.

As a script it makes more of them, with a limit of memory: ``python -m tests.faults.fuzz --each 500``. A further kind of
input is a line in ``KINDS``.
"""

import argparse
import io
import json
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.torch import save

from invaudit.audit import ScoreSettings
from invaudit.benchmarks.explain import ExplainBenchmark
from invaudit.benchmarks.leakage import LeakageBenchmark
from invaudit.benchmarks.ood import OODBenchmark
from invaudit.data import ImageSet, load
from invaudit.data.folders import PictureInput
from invaudit.inversion import InversionSettings
from invaudit.leakage.pool import read_groups, read_pairs
from invaudit.models import Target, load_model
from invaudit.models.architectures import build
from invaudit.models.spec import InputSpec
from invaudit.ood.recipes import FitSettings
from invaudit.records import AuditRecord, OodJobRecord, read_leakage_run, read_ood_run
from invaudit.records.folder import read_record
from invaudit.runtime.errors import InputError
from invaudit.runtime.files import read_arrays
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.settings import config_folders, load_config

LONGEST_S = 10
MOST_BYTES = 4 * 2**30
TOKENS = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", b"\r\n", b"\t", b"'", b'"', b"&a ", b"*a ", b"<<: ",
    b"!!int ", b"!!python/object:x ", b"!!timestamp ", b"- ", b": ", b", ", b"[", b"]", b"{", b"}", b"[" * 200, b"#",
    b".inf", b".nan", b"-1", b"0", b"1.5", b"1e400", b"1e30", b"-1e30", b"9" * 400, b"9" * 5000, b"\xc2\xb2",
    b"2001-99-99", b"true", b"True", b"null", b"None", b"NaN", b"Infinity", b"../..", b"/", b"@", b":", b"@0:",
    b"x" * 300,
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of input.

    Attributes:
        make: Returns right inputs, one of which is changed.
        feed: Takes an input; returns, or raises an InputError.
        files: Whether the input is the content of a file, which is what ``feed`` gets the path of; else it is text.
    """

    make: Callable[[], list[bytes]]
    feed: Callable[..., object]
    files: bool = True


def mutated(content: bytes, rng: Random) -> bytes:
    """Return an input with one to four changes."""
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(CHANGES)(content, rng)
    return content


def _place(content: bytes, rng: Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((0, 1, 1, 2, 4, 16, 64)))


def _cut(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _flip(content: bytes, rng: Random) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put(content: bytes, rng: Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + rng.choice(TOKENS) + content[end:]


def _put_number(content: bytes, rng: Random) -> bytes:
    """Put something in place of a run of digits, where there is one."""
    places = [place for place, value in enumerate(content) if chr(value).isdigit()]
    if not places:
        return content
    start = end = rng.choice(places)
    while end < len(content) and chr(content[end]).isdigit():
        end += 1
    return content[:start] + rng.choice(TOKENS) + content[end:]


def _repeat(content: bytes, rng: Random) -> bytes:
    start, end = _place(content, rng)
    return content[:end] + content[start:end] * rng.choice((1, 2, 50)) + content[end:]


def _drop(content: bytes, rng: Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + content[end:]


def _swap_lines(content: bytes, rng: Random) -> bytes:
    lines = content.split(b"\n")
    rng.shuffle(lines)
    return b"\n".join(lines)


CHANGES = (_cut, _flip, _put, _put, _put_number, _put_number, _repeat, _drop, _swap_lines)


def _configs(folder: str, *more: str) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        shipped = [file.read_bytes() for root in config_folders() for file in sorted((root / folder).glob("*.yaml"))]
        return shipped + [text.encode() for text in more]

    return make


def _config_of(*kinds: type) -> Callable[[Path], object]:
    def feed(path: Path) -> None:
        for kind in kinds:
            load_config(kind, str(path)).code()

    return feed


def _overrides() -> list[bytes]:
    return [b"steps=5", b"weights={kl: 1.0}", b"betas=[0.5, 0.9]", b"mode=vector", b"learning_rate=1e-3"]


def _data() -> list[bytes]:
    return [b"digits", b"digits@0:20", b"digits:all@5:50:3", b"few.npz:test@1:3", b"nowhere/", b"few.npz"]


def _archives() -> list[bytes]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    found = []
    for arrays in (
        {"images": images, "labels": np.arange(4)},
        {"test_images": images[..., None], "test_labels": np.arange(4)[:, None], "train_images": images},
        {"images": images.astype(np.float32) / 255},
    ):
        for pack in (np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            pack(buffer, **arrays)
            found.append(buffer.getvalue())
    return found


def _pairs() -> list[bytes]:
    return [b"member,control\n0,0\n1,2\n", b"\xef\xbb\xbfmember,control\r\n0,0\r\n"]


def _groups() -> list[bytes]:
    return [b"side,index,group\nmember,0,a\nmember,1,a\ncontrol,0,b\ncontrol,1,c\n"]


def _models() -> list[bytes]:
    spec = InputSpec(1, 8, 8)
    module = build("mlp-4", spec, 3)
    target = Target(module, spec, 3, arch="invaudit:mlp-4")
    header = {
        "schema": 1, "arch": "invaudit:mlp-4", "classes": 3, "outputs": 3, "head": target.layers.head,
        "spec": {"channels": 1, "height": 8, "width": 8, "mean": [0.0], "std": [1.0]},
    }  # fmt: skip
    weights = {name: value.contiguous() for name, value in module.state_dict().items()}
    return [save(weights, {"invaudit": json.dumps(header)})]


def _headers() -> list[bytes]:
    content = _models()[0]
    length = int.from_bytes(content[:8], "little")
    return [json.loads(content[8 : 8 + length])["__metadata__"]["invaudit"].encode()]


def _feed_header(path: Path) -> object:
    """Load a model file of ours that says this of itself."""
    content = _models()[0]
    length = int.from_bytes(content[:8], "little")
    values = json.loads(content[8 : 8 + length])
    values["__metadata__"]["invaudit"] = path.read_bytes().decode(errors="surrogateescape")
    changed = json.dumps(values).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    return load_model(path)


def _records() -> list[bytes]:
    return [
        json.dumps({"config_hash": "x", "schema": 1}).encode(),
        json.dumps({"versions": {"python": "3"}, "git": None, "resumed_with": [{"versions": {}}]}).encode(),
        json.dumps({"sets": {"splits": {}, "ood": {}, "groups": {}, "missing": {}}, "detectors": {}}).encode(),
    ]


def _feed_record(path: Path) -> None:
    """Go on with a run whose record this is, and read it as that of a job."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = InversionSettings()
        with RunFolder.open(folder, settings) as run:
            (run.path / "records" / "job.json").write_bytes(path.read_bytes())
        attempts: list[Callable[[], object]] = [lambda: _resume(folder, settings)]
        for kind in (OodJobRecord, AuditRecord):
            attempts.append(lambda kind=kind: read_record(folder, "job", kind))
        for attempt in attempts:
            _accepted(attempt)
        for file in ("records/run.json", "environment.json"):
            (folder / file).write_bytes(path.read_bytes())
            _accepted(lambda: _resume(folder, settings))


def _resume(folder: Path, settings: InversionSettings) -> None:
    with RunFolder.open(folder, settings, resume=True) as run:
        run.record("job")


def _tables() -> list[bytes]:
    return [
        b"id_set,seed,network,detector,ood_set,group,trivial,n_id,n_ood,auroc,status\nd,0,full,joint,a,near,False,9,9,0.5,ok\n",
        b"target,method,metric,design,seed,n_members,n_control,status\nmlp,kkt,ssim,pairs,0,9,9,ok\n",
    ]


def _feed_table(path: Path) -> None:
    """Read a run folder whose tables these are."""
    with tempfile.TemporaryDirectory() as name:
        for file in ("table.csv", "summary.csv", "metrics.csv", "detectors.csv", "config.yaml", "scores.npz"):
            (Path(name) / file).write_bytes(path.read_bytes())
        for read in (read_leakage_run, read_ood_run):
            _accepted(lambda read=read: read(Path(name)))
        _accepted(lambda: read_arrays(Path(name) / "scores.npz"))


def _accepted(attempt: Callable[[], object]) -> bool:
    """Return whether an attempt ends without an error of ours; any other error is a failure of the fuzz."""
    try:
        attempt()
    except InputError:
        return False
    return True


def _pictures() -> list[bytes]:
    """Return a small picture of each format that is read; JPEG and PNG with EXIF data."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = []
    for form in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form, exif=exif)
        contents.append(buffer.getvalue())
    return contents


def _feed_picture(path: Path) -> ImageSet:
    file = path.with_suffix(".png")
    path.rename(file)
    return load(str(file), wanted=PictureInput((3, 8, 8)))


def _feed_list(path: Path) -> ImageSet:
    file = path.with_suffix(".txt")
    path.rename(file)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (10, 12)).save(path.parent / name)
    return load(str(file), wanted=PictureInput((3, 8, 8)))


def _tables_of_pictures() -> pa.Table:
    pictures = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(_pictures())]
    label = {"_type": "ClassLabel", "names": ["a", "b"]}
    declared = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    table = pa.table({"image": pictures, "label": [row % 2 for row in range(len(pictures))]})
    return table.replace_schema_metadata({"huggingface": json.dumps(declared)})


def _parquet() -> list[bytes]:
    found = []
    for compression in ("none", "snappy", "zstd"):
        buffer = io.BytesIO()
        pq.write_table(_tables_of_pictures(), buffer, row_group_size=3, compression=compression)
        found.append(buffer.getvalue())
    return found


def _feed_parquet(path: Path) -> ImageSet:
    file = path.with_suffix(".parquet")
    path.rename(file)
    return load(str(file), wanted=PictureInput((3, 8, 8)))


def _arrow() -> list[bytes]:
    found = []
    for compression in (None, "zstd"):
        buffer, table = io.BytesIO(), _tables_of_pictures()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(buffer, table.schema, options=options) as stream:
            stream.write_table(table, 3)
        found.append(buffer.getvalue())
    return found


def _feed_arrow(path: Path) -> ImageSet:
    """Load a set that save_to_disk of datasets might have written."""
    with tempfile.TemporaryDirectory() as name:
        path.rename(Path(name, "data.arrow"))
        Path(name, "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        Path(name, "dataset_info.json").write_text("{}")
        return load(f"{name}/", wanted=PictureInput((3, 8, 8)))


KINDS: Mapping[str, Kind] = {
    "inversion config": Kind(
        _configs("invert", "steps: 5\nweights: {kl: 1.0, cosine: 2}\n"), _config_of(InversionSettings)
    ),
    "fit config": Kind(_configs("fit"), _config_of(FitSettings)),
    "ood config": Kind(_configs("ood"), _config_of(OODBenchmark)),
    "leakage config": Kind(_configs("leakage"), _config_of(LeakageBenchmark)),
    "explain config": Kind(_configs("explain"), _config_of(ExplainBenchmark)),
    "score config": Kind(
        lambda: [b"name: x\nreconstructions: a\nmembers: b\ncontrols: c\nmetrics: {ssim: null, lpips-alex: 32}\n"],
        _config_of(ScoreSettings),
    ),
    "--set": Kind(_overrides, lambda text: load_config(InversionSettings, None, (text,)), files=False),
    "DATA": Kind(_data, load, files=False),
    "picture": Kind(_pictures, _feed_picture),
    "list": Kind(lambda: [b"a.png\nb.png\n", b"a.png\tcat\nb.png\tdog\n"], _feed_list),
    "parquet": Kind(_parquet, _feed_parquet),
    "arrow": Kind(_arrow, _feed_arrow),
    "npz": Kind(_archives, lambda path: load(f"{path}.npz")),
    "pairs": Kind(_pairs, read_pairs),
    "groups": Kind(_groups, lambda path: read_groups(path, 2, 2)),
    "records": Kind(_records, _feed_record),
    "tables": Kind(_tables, _feed_table),
    "scores": Kind(_archives, read_arrays),
    "metadata": Kind(_headers, _feed_header),
    "model": Kind(_models, load_model),
}


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise TimeoutError where what is done inside takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(name: str, count: int, seed: int, folder: Path) -> list[str]:
    """Feed a number of changed inputs of one kind and return what went wrong, with the input, perhaps nothing."""
    kind, rng = KINDS[name], Random(f"{seed} {name}")  # noqa: S311 - changes are no secret
    right, failures = kind.make(), []
    if name == "DATA":
        load("digits")  # the first time imports what takes seconds
    for number in range(count):
        content = mutated(rng.choice(right), rng)
        path = folder / "input"
        file = path.with_suffix(".npz") if name == "npz" else path
        file.write_bytes(content)
        given: object = path if kind.files else content.decode(errors="surrogateescape")
        try:
            with within(LONGEST_S), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                kind.feed(given)
        except InputError:
            continue
        except Exception as error:  # noqa: BLE001 - this is what the fuzz looks for
            failures.append(f"{name} {number}: {type(error).__name__}: {str(error)[:200]} for {content[:300]!r}")
    return failures


def main() -> int:
    """Feed many inputs of all kinds with little memory, and say what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=tuple(KINDS))
    options = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    total = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.kind or KINDS:
            failures = fuzz(name, options.each, options.seed, Path(folder))
            print(f"{name}: {options.each} inputs, {len(failures)} failures", flush=True)
            total += failures
    print("\n".join(total))
    return bool(total)


if __name__ == "__main__":
    sys.exit(main())
