"""The DATA grammar: one line of text that names a set of images, for every command.

NAME[:SPLIT][@a:b:c]            digits, NAME.npz under INVAUDIT_DATA, or torchvision's layout there
PATH.npz[:SPLIT][@a:b:c]        arrays SPLIT_images and SPLIT_labels, or images and labels, or Keras' x_test and y_test
PATH.parquet[:SPLIT][@a:b:c]    pictures and labels in a table, as Hugging Face stores them
PATH/[:SPLIT][@a:b:c]           a folder of such files, or what save_to_disk of the package datasets wrote
PATH/[@a:b:c]                   picture files in class folders, or all in one folder, of any size
PHOTO.jpg                       one picture
LIST.txt[@a:b:c]                one path a line, and its class after a tab
DATA+DATA                       several of these as one set

The slice takes every c-th image from a to b, as in Python; each of the three may be left out, :c with its colon.
"""

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from invaudit.data import vision
from invaudit.data.arrays import choose_split, read_npz
from invaudit.data.digits import digits
from invaudit.data.folders import Listing, PictureInput, list_file, list_folder, picture_set
from invaudit.data.image_set import ImageSet
from invaudit.data.joining import joined
from invaudit.data.pictures import SUFFIXES
from invaudit.data.table_sets import PARQUET, is_table_folder, list_tables, open_tables
from invaudit.runtime import paths
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.text import shown

BUILTIN: dict[str, Callable[[], ImageSet]] = {"digits": digits}
"""Name -> set that needs no file; each has one split, called ``all``."""


ENDINGS: dict[str, tuple[str, ...]] = {"npz": (".npz",), "table": (PARQUET,), "file": (".txt", *SUFFIXES)}
"""Kind of data source -> endings of the files that are one."""
_WITH_SPLITS = (".npz", PARQUET)


@dataclass(frozen=True)
class Request:
    """What a DATA text asks for, without its slice.

    Args:
        base: Name, file or folder.
        split: Name of the split, if one is given.
        root: Folder in which names are looked for, if there is one.
        download: Whether torchvision may fetch what is not there.
        wanted: What pictures should become.
    """

    base: str
    split: str | None
    root: Path | None
    download: bool
    wanted: PictureInput = field(default_factory=PictureInput)


def load(
    text: str | Path, *, root: Path | None = None, download: bool = False, wanted: PictureInput | None = None
) -> ImageSet:
    """Load the images that a DATA text names.

    Picture files are decoded at once where all of them take no more than 256 MiB, else when they are used.

    Args:
        text: See the grammar above; a path is one, too. Without SPLIT: ``test`` where there is one, else the only one.
        root: Folder in which names are looked for; None is the environment variable INVAUDIT_DATA.
        download: Whether torchvision may fetch a set that is not there.
        wanted: What picture files should become; without it they must be of one size. Arrays stay as they are.

    Returns:
        The images, named after the set; label -1 where there are no labels.

    Raises:
        MissingDataError: There is no such name, file or folder.
        DataError: The text or what it names is malformed, or the slice reaches past the end.

    Example:
        >>> images = load("digits@0:200")
        >>> images.images.shape, images.labels[:5].tolist()
        (torch.Size([200, 1, 8, 8]), [0, 1, 2, 3, 4])
    """
    if not isinstance(text, str | Path):
        raise DataError(f"got {shown(text)} for DATA, expected a text such as 'digits', or a path")
    text = str(text)
    variable = os.environ.get("INVAUDIT_DATA")
    root = root or (Path(variable) if variable else None)
    sets = [_loaded(part, root, download, wanted or PictureInput()) for part in _parts(text)]
    return joined(sets).decoded_if_small()


def _parts(text: str) -> list[str]:
    """Return what + joins; a path of which + is a part stays whole."""
    path = re.sub(r"(:[^/:@+]+)?(@[\d:]*)?$", "", text)
    return [text] if paths.what_is(Path(path), DataError) else text.split("+")


def _loaded(text: str, root: Path | None, download: bool, wanted: PictureInput) -> ImageSet:
    base, split, cut = _parsed(text)
    images = SOURCES[_kind(base, root)](Request(base, split, root, download, wanted))
    return _sliced(images, cut, text) if cut else images


def _parsed(text: str) -> tuple[str, str | None, str | None]:
    """Take a DATA text apart; a colon or an @ inside a path stays there."""
    head, at, cut = text.rpartition("@")
    if not at or "/" in cut or _holds_splits(cut):
        head, cut = text, None
    base, colon, split = head.rpartition(":")
    if not colon or "/" in split or "\\" in split or _holds_splits(split):
        base, split = head, None
    if (
        not base
        or split == ""
        or (cut is not None and not re.fullmatch(r"\d{0,18}:\d{0,18}(:[1-9]\d{0,17})?", cut, re.ASCII))
    ):
        raise DataError(
            f"{text!r} is malformed, expected NAME[:SPLIT], PATH.npz[:SPLIT], PATH.parquet[:SPLIT], PATH/, PHOTO.jpg "
            "or LIST.txt, then [@a:b:c], and + between several"
        )
    return base, split, cut


def _holds_splits(text: str) -> bool:
    """Return whether a text is no split or slice, but the end of the name of a file that has them."""
    return any(ending in text for ending in _WITH_SPLITS)


def _kind(base: str, root: Path | None) -> str:
    for kind, endings in ENDINGS.items():
        if base.lower().endswith(endings) and not paths.is_folder(Path(base), DataError):
            return kind
    if "/" in base or os.sep in base:
        return _kind_of_folder(Path(base))
    if base in BUILTIN:
        return "builtin"
    if root is not None and paths.is_file(root / f"{base}.npz", DataError):
        return "npz"
    if vision.known(base):
        return "torchvision"
    return _kind_of_folder(Path(base)) if paths.is_folder(Path(base), DataError) else "npz"


def _kind_of_folder(folder: Path) -> str:
    return "table" if paths.is_folder(folder, DataError) and is_table_folder(folder) else "folder"


def _sliced(images: ImageSet, cut: str, text: str) -> ImageSet:
    first, last, *step = cut.split(":")
    start, stop = int(first or 0), int(last or len(images))
    if stop > len(images):
        raise DataError(f"{text!r} reaches past the end: {images.name} has {len(images)} images; lower the slice")
    if start >= stop:
        raise DataError(f"{text!r} selects no image, expected @a:b with a < b <= {len(images)}")
    return images.subset(slice(start, stop, *map(int, step)))


def _builtin(request: Request) -> ImageSet:
    choose_split({"all"}, request.split, request.base)
    return BUILTIN[request.base]()


def _npz(request: Request) -> ImageSet:
    if request.base.lower().endswith(".npz"):
        return read_npz(Path(request.base), request.split, Path(request.base).stem)
    path = None if request.root is None else request.root / f"{request.base}.npz"
    if path is None or not path.is_file():
        raise MissingDataError(_unknown(request))
    return read_npz(path, request.split, request.base)


def _pictures(request: Request, list_pictures: Callable[[Path], Listing]) -> ImageSet:
    path = Path(request.base)
    if request.split is not None:
        got = f"{request.base} has no split {request.split!r}"
        raise DataError(f"{got}; leave it out, or name the folder of that split")
    return picture_set(paths.resolved(path, DataError).name, list_pictures(path), request.wanted)


def _folder(request: Request) -> ImageSet:
    return _pictures(request, list_folder)


def _table(request: Request) -> ImageSet:
    path = Path(request.base)
    listing = list_tables(open_tables(path, request.split))
    return picture_set(paths.resolved(path, DataError).name, listing, request.wanted)


def _file(request: Request) -> ImageSet:
    return _pictures(request, list_file)


def _torchvision(request: Request) -> ImageSet:
    if request.root is None:
        remedy = "set it to the folder that holds your data sets (--download fetches into it)"
        raise MissingDataError(f"data set {request.base!r} is not there: INVAUDIT_DATA is not set; {remedy}")
    return vision.read_torchvision(request.base, request.split, request.root, download=request.download)


def _unknown(request: Request) -> str:
    files = sorted(request.root.glob("*.npz")) if request.root else []
    names = [*BUILTIN, *(file.stem for file in files), *vision.NAMES]
    close = difflib.get_close_matches(request.base.lower(), map(str.lower, names), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    file = f"there is no {request.root / request.base}.npz" if request.root else "INVAUDIT_DATA is not set"
    return f"no data set is called {request.base!r}: {file}, and torchvision has none of that name{hint}"


SOURCES: dict[str, Callable[[Request], ImageSet]] = {
    "builtin": _builtin,
    "npz": _npz,
    "table": _table,
    "folder": _folder,
    "file": _file,
    "torchvision": _torchvision,
}
"""Kind of data source -> reader."""
