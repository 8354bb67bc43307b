import errno
import os

import pytest

from invaudit.runtime.errors import DataError, RunFolderError
from invaudit.runtime.paths import (
    inside,
    is_file,
    is_folder,
    open_own,
    opened,
    read_bytes,
    read_text,
    resolved,
    what_is,
)

ASKED = (what_is, is_file, is_folder, resolved, inside, read_bytes, read_text)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A folder and a file that the system refuses to an ordinary user; the tests may run as root, whom nothing is."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "secret")

    file = tmp_path / "secret"
    file.write_text("x")
    for name in ("stat", "open", "scandir", "listdir", "readlink", "lstat"):
        monkeypatch.setattr(os, name, refuse)
    return file


@pytest.mark.parametrize("ask", [what_is, is_file, is_folder, inside, read_bytes, read_text])
def test_a_refusal_is_an_error_of_the_kind_that_is_asked_for(ask, refused):
    with pytest.raises(DataError, match="secret: Permission denied; ask for the permission"):
        ask(refused, DataError)


@pytest.mark.parametrize("ask", [what_is, is_file, is_folder, inside, read_bytes, read_text])
def test_a_name_that_is_too_long_is_said_shortly(ask, tmp_path):
    with pytest.raises(DataError, match="File name too long; give a shorter path") as caught:
        ask(tmp_path / ("x" * 5000), DataError)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("ask", ASKED)
def test_links_that_lead_to_each_other(ask, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DataError):
        ask(tmp_path / "a", DataError)


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_what_is_no_path(ask, name, tmp_path):
    with pytest.raises(DataError, match="is no path"):
        ask(tmp_path / name, DataError)


def test_what_lies_at_a_path(tmp_path):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nowhere")
    found = [what_is(tmp_path / name, DataError) for name in ("file", "fifo", "link", "broken", "none", "file/x", ".")]
    assert found == ["file", "other", "file", None, None, None, "folder"]


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(DataError), opened(tmp_path / name, DataError):
            pass
    with pytest.raises(DataError, match="no regular file"):
        read_bytes(tmp_path / "fifo", DataError)


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa")
    assert read_text(tmp_path / "a", DataError) == "a"
    (tmp_path / "a").write_bytes(b"abc\xff")
    with pytest.raises(DataError, match=r"not UTF-8 text .* at byte 3"):
        read_text(tmp_path / "a", DataError)
    with pytest.raises(DataError, match="has 4 bytes, expected at most 3"):
        read_bytes(tmp_path / "a", DataError, most=3)


@pytest.mark.parametrize("make", ["link", "fifo", "folder"])
def test_a_file_of_ours_is_no_link_and_nothing_else(make, tmp_path):
    (tmp_path / "victim").write_text("precious")
    own = tmp_path / "own"
    makers = {"link": lambda: own.symlink_to("victim"), "fifo": lambda: os.mkfifo(own), "folder": own.mkdir}
    makers[make]()
    with pytest.raises(RunFolderError, match=r"remove .*own"):
        open_own(tmp_path / "own", RunFolderError)
    assert (tmp_path / "victim").read_text() == "precious"
