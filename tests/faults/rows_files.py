"""Paths that cannot be asked or opened, files of ours that are damaged, arrays and CSV files."""

import os
from pathlib import Path

import numpy as np

from tests.faults.rows import (
    NINES,
    Row,
    arrays,
    fifo,
    fit,
    folder,
    header,
    invert,
    link,
    npy,
    npz,
    resumed,
    score,
    text,
    without,
)

LONG = "x" * 5000


def loop(name: str):
    """Make two links that lead to each other."""

    def make(inputs: Path) -> None:
        (inputs / name).symlink_to("other-end")
        (inputs / "other-end").symlink_to(name)

    return make


def path(option: str, words: tuple[str, ...], missing: str) -> list[Row]:
    """Return the rows of one path of a command, at the place of PATH."""

    def at(place: str) -> tuple[str, ...]:
        return tuple(place if word == "PATH" else word for word in words)

    return [
        Row(f"{option} missing", at("nowhere"), (missing,)),
        Row(f"{option} below a file", at("many.npz/x"), ("many.npz/x",)),
        Row(f"{option} too long", at(LONG), ("File name too long", "give a shorter path")),
        Row(f"{option} in a loop", at("round"), ("round", "its links lead to each other"), loop("round")),
        Row(f"{option} with NUL", at("a\0b"), ("a\\x00b",)),
    ]


PATHS = [
    *path("--model", ("invert", "--model", "PATH", "--arch", "mlp-8", "--input", "1x8x8", "--out", "o"), "nowhere"),
    *path("--config", invert("--config", "PATH"), "config 'nowhere' is neither a file nor"),
    *path("--pairs", score("--pairs", "PATH"), "the file of pairs nowhere is not there"),
    *path("--groups", score("--groups", "PATH"), "the file of groups nowhere is not there"),
    *path("guard", ("ood", "score", "PATH", "many.npz"), "nowhere holds no guarded classifier"),
    *path("--attack-control", score("--attack-control", "PATH"), "the attack control nowhere holds no"),
    Row("--out too long", (*invert()[:4], LONG), ("File name too long", "give a shorter path")),
    Row("--out in a loop", (*invert()[:4], "round"), ("round",), loop("round")),
    Row("--out with NUL", (*invert()[:4], "a\0b"), ("a\\x00b is no path",)),
    Row("--out below a file", (*invert()[:4], "many.npz/o"), ("many.npz/o", "Not a directory", "choose another --out")),
    Row("--out a file", (*invert()[:4], "many.npz"), ("many.npz is a file, expected a folder",)),
    Row("--out a FIFO", (*invert()[:4], "f"), ("expected a folder",), fifo("f")),
    Row("--out of something else", (*invert()[:4], "mine"), ("not empty and holds no run",), text("mine/a.txt", "")),
    Row("model a FIFO", (*invert()[:2], "f", "--out", "o"), ("model file f does not exist",), fifo("f")),
    Row("config a FIFO", invert("--config", "f"), ("config 'f' is neither a file nor",), fifo("f")),
    Row("config a folder", invert("--config", "f"), ("config 'f' is neither a file nor",), folder("f")),
    Row("pairs a folder", score("--pairs", "f"), ("the file of pairs f is not there",), folder("f")),
    Row("npz a FIFO", fit("f.npz"), ("there is no file f.npz",), fifo("f.npz")),
    Row("npz a folder", fit("f.npz"), ("f.npz holds no images",), folder("f.npz")),
    Row("npz too long", fit(LONG + ".npz"), ("File name too long",)),
    Row(
        "escape sequences in a name",
        ("invert", "--model", "a\n\x1b[31mRED.pth", "--out", "o"),
        ("model file a\\n\\x1b[31mRED.pth does not exist",),
    ),
    Row("a name of bytes", ("invert", "--model", "a\udcff.pth", "--out", "o"), ("model file a\\udcff.pth",)),
]


def in_new(spoil):
    """Spoil a folder that is made for it."""

    def make(inputs: Path) -> None:
        (inputs / "n").mkdir()
        spoil(inputs)

    return make


def damaged(name: str, content: str | bytes, *says: str) -> Row:
    """Return the row of a run that goes on with a file of ours that was changed."""
    return Row(f"resume: {name} {content[:24]!r}", resumed(), says, text(f"run/{name}", content))


OWN = [
    Row("resume: not asked for", resumed()[:-1], ("already holds a run", "--resume")),
    Row("resume: other settings", resumed("--seeds", "7"), ("made with other settings or inputs",)),
    damaged("records/run.json", "", "run.json is damaged", "remove the folder"),
    damaged("records/run.json", "[]", "run.json is damaged: got a list"),
    damaged("records/run.json", "{}", "schema None"),
    damaged("records/run.json", '{"config_hash": 5, "schema": 1}', "made with other settings"),
    damaged("records/run.json", '{"schema": 99}', "schema 99"),
    damaged("records/run.json", "[" * 100_000, "run.json is damaged"),
    damaged("records/run.json", b"\xff\xfe", "run.json is damaged"),
    damaged("environment.json", "", "environment.json is damaged"),
    damaged("environment.json", "[]", "environment.json is damaged"),
    damaged("environment.json", '{"resumed_with": 5}', "environment.json is damaged at resumed_with"),
    damaged("work.pt", "garbage", "work.pt is damaged", "remove it"),
    damaged("work.pt", b"", "work.pt is damaged"),
    damaged("work.pt", b"PK\x03\x04" + bytes(90), "work.pt is damaged"),
    Row("resume: no run.json", resumed(), ("no run of ours",), without("run/records/run.json")),
    Row(
        "resume: no environment.json",
        resumed(),
        ("is missing", "remove the folder"),
        without("run/environment.json"),
    ),
    Row("resume: run.json a folder", resumed(), ("no run of ours",), folder("run/records/run.json")),
    Row("resume: log.txt a link", resumed(), ("log.txt is a link", "remove"), link("run/log.txt", "../pairs.csv")),
    Row("resume: log.txt a FIFO", resumed(), ("log.txt is no regular file",), fifo("run/log.txt")),
    Row("resume: log.txt a folder", resumed(), ("log.txt",), folder("run/log.txt")),
    Row("resume: .lock a link", resumed(), (".lock is a link", "remove"), link("run/.lock", "../pairs.csv")),
    Row("resume: .lock a FIFO", resumed(), (".lock is no regular file",), fifo("run/.lock")),
    Row(".lock a link, before", (*invert()[:4], "n"), (".lock is a link",), in_new(link("n/.lock", "../pairs.csv"))),
    Row(".lock a FIFO, before", (*invert()[:4], "n"), (".lock is no regular file",), in_new(fifo("n/.lock"))),
]


def array(name: str, values: object, *says: str, key: str = "images") -> Row:
    """Return the row of a fit to an array."""
    return Row(f"npz: {name}", fit("d.npz"), ("d.npz", *says), arrays(**{key: values}))


def classes(name: str, labels: list[int], *says: str) -> Row:
    """Return the row of a fit to images of these classes."""
    return Row(f"npz: {name}", fit("d.npz"), says, arrays(labels=np.array(labels)))


def archive(name: str, content: bytes, *says: str) -> Row:
    """Return the row of a fit to an .npz file."""
    return Row(f"npz: {name}", fit("d.npz"), ("d.npz", *says), text("d.npz", content))


def claims(shape: str, *says: str, kind: str = "|u1") -> Row:
    """Return the row of a file whose header claims a shape."""
    return archive(f"header {shape} {kind}", npz(images=npy(header(shape, kind))), *says)


def huge_directory() -> bytes:
    """Return an archive whose directory claims more than is allowed."""
    content = bytearray(npz(images=npy(header("(1, 8, 8)"))))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    return bytes(content)


def unlabelled(inputs: Path) -> None:
    """Write images without labels."""
    np.savez(inputs / "d.npz", images=np.zeros((60, 8, 8), np.uint8))


RIGHT = npz(images=npy(header("(1, 8, 8)")))
NPZ = [
    archive("empty", b"", "cannot be read", "fetch it again"),
    archive("no zip", b"not a zip at all", "cannot be read"),
    archive("cut", RIGHT[: len(RIGHT) // 2], "cannot be read"),
    archive("cut at the end", RIGHT[:-8], "cannot be read"),
    archive("no arrays", npz(), "holds no images"),
    archive("another check sum", RIGHT.replace(bytes(40), b"\1" * 40, 1), "cannot be read"),
    archive("no npy", npz(images=b"hello"), "cannot be read"),
    archive("header no Python", npz(images=npy("{{{")), "cannot be read"),
    archive("header of code", npz(images=npy("__import__('os').getcwd()")), "cannot be read"),
    archive("header of numbers", npz(images=npy("5")), "cannot be read"),
    archive("header deep", npz(images=npy("(" * 900 + ")" * 900)), "cannot be read"),
    archive("directory claims 4 GB", huge_directory(), "claims to unpack to", "numpy.savez"),
    claims("(True, 8, 8)", "expected plain sizes"),
    claims("(-1, 8, 8)", "expected plain sizes"),
    claims("(0, " + "1" + "0" * 30 + ", 8)", "expected plain sizes"),
    claims("(700, 1024, 1024)", "promises", "holds"),
    claims("(1.0, 8, 8)", "cannot be read"),
    claims("('a', 8, 8)", "cannot be read"),
    claims("(1, 8, 8)", "holds Python objects", kind="|O"),
    claims("(1, 8, 8)", "cannot be read", kind="nonsense"),
    array("floats of 255", np.full((4, 8, 8), 255.0), "from 255 to 255", "rescale it"),
    array("floats of NaN", np.full((4, 8, 8), np.nan), "expected floats in [0, 1]"),
    array("floats below 0", np.full((4, 8, 8), -0.5), "expected floats in [0, 1]"),
    array("16 bits", np.zeros((4, 8, 8), np.uint16), "uint16", "convert it"),
    array("yes or no", np.zeros((4, 8, 8), bool), "bool", "convert it"),
    array("complex", np.zeros((4, 8, 8), complex), "complex128", "convert it"),
    array("texts", np.full((4, 8, 8), "a"), "convert it"),
    array("dates", np.zeros((4, 8, 8), "datetime64[s]"), "convert it"),
    array("records", np.zeros((4, 8, 8), [("a", "u1")]), "convert it"),
    array("2 channels", np.zeros((4, 2, 8, 8), np.uint8), "shape (4, 2, 8, 8)"),
    array("flat", np.zeros((4, 64), np.uint8), "shape (4, 64)"),
    array("no images", np.zeros((0, 8, 8), np.uint8), "is empty"),
    array("labels too many", np.zeros(5, int), "5 labels for 4 images", key="labels"),
    array("labels too few", np.zeros(3, int), "3 labels for 4 images", key="labels"),
    array("labels of halves", np.zeros(4), "whole numbers", key="labels"),
    array("labels of 2 columns", np.zeros((4, 2), int), "whole numbers", key="labels"),
    array("labels of text", np.full(4, "cat"), "whole numbers", key="labels"),
    array("label 1e9", np.array([0, 1, 2, 10**9]), "labels from 0 to 1000000000", "number the classes", key="labels"),
    array("label 1e12", np.array([0, 1, 2, 10**12]), "expected classes from 0", key="labels"),
    array("label -1e12", np.array([0, 1, 2, -(10**12)]), "expected classes from 0", key="labels"),
    array("label 2^64 - 1", np.array([0, 1, 2, 2**64 - 1], np.uint64), "expected classes from 0", key="labels"),
    Row("npz: no labels", fit("d.npz"), ("images without a class", "labels from 0"), unlabelled),
    classes("a class of few", [0, 1, 2, 999_999], "1 images of class 0", "999999 other classes", "give more"),
    classes("a gap", [0, 0, 2, 2], "2 images of class 0", "without gaps"),
    Row("npz: no such split", fit("d.npz:val"), ("d.npz has no split 'val'", "expected one of: all"), arrays()),
]


def pairs(name: str, content: str | bytes, *says: str) -> Row:
    """Return the row of a scoring with these pairs."""
    return Row(f"pairs: {name}", score("--pairs", "p.csv"), ("p.csv", *says), older(text("p.csv", content)))


def groups(name: str, content: str | bytes, *says: str) -> Row:
    """Return the row of a scoring with these groups."""
    return Row(f"groups: {name}", score("--groups", "g.csv"), ("g.csv", *says), text("g.csv", content))


def older(spoil):
    """Give the file of pairs a time before that of the reconstructions."""

    def make(inputs: Path) -> None:
        spoil(inputs)
        os.utime(inputs / "p.csv", (1, 1))

    return make


CSV = [
    pairs("empty", "", "no member", "expected a CSV file"),
    pairs("no lines", "member,control\n", "holds no pairs"),
    pairs("other columns", "a,b\n0,0\n", "no member"),
    pairs("semicolons", "member;control\n0;0\n", "no member"),
    pairs("1e30", "member,control\n" + "9" * 30 + ",0\n", "names the position"),
    pairs("5000 digits", f"member,control\n{NINES},0\n", "names the position"),
    pairs("other digits", "member,control\n²,0\n", "names the position '²'"),
    pairs("underscores", "member,control\n1_0,0\n", "names the position '1_0'"),
    pairs("negative", "member,control\n-1,0\n", "names the position '-1'"),
    pairs("halves", "member,control\n0.5,0\n", "names the position '0.5'"),
    pairs("a cell is missing", "member,control\n0\n", "names the position ''"),
    pairs("binary", bytes(range(256)), "not UTF-8"),
    pairs("NUL", "member,control\n\0,0\n", "p.csv"),
    pairs("an open quote", 'member,control\n"0,0\n', "p.csv"),
    pairs("a cell of 1 MB", "member,control\n" + "0" * 1_000_000 + ",0\n", "no CSV file", "field larger"),
    Row(
        "pairs: past the end",
        score("--pairs", "p.csv"),
        ("member 99", "from 0 to 11"),
        older(text("p.csv", "member,control\n99,0\n")),
    ),
    Row("pairs: newer", score("--pairs", "p.csv"), ("was written after",), text("p.csv", "member,control\n0,0\n")),
    groups("empty", "", "no side", "expected a CSV file"),
    groups("another side", "side,index,group\nnobody,0,a\n", "once"),
    groups("no group", "side,index,group\nmember,0,\n", "no side or no group"),
    groups("1e30", "side,index,group\nmember," + "9" * 30 + ",a\n", "names the position"),
    groups("twice", "side,index,group\nmember,0,a\nmember,0,a\n", "once"),
]
ROWS = [*PATHS, *OWN, *NPZ, *CSV]
