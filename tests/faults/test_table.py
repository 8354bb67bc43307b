"""One table of inputs that are wrong: each gives exit code 2 and one message, and leaves nothing behind.

A further kind of input is a further module of rows, joined here.
"""

import sys

import pytest

from tests.faults import rows_commands, rows_files, rows_models, rows_settings, rows_tables

ROWS = [*rows_settings.ROWS, *rows_files.ROWS, *rows_commands.ROWS, *rows_models.ROWS, *rows_tables.ROWS]


def tree(folder):
    """Return what lies in a folder and how large it is, without the code that Python has compiled."""
    found = {}
    for path in folder.rglob("*"):
        if "__pycache__" not in path.parts:
            found[str(path.relative_to(folder))] = path.lstat().st_size if path.is_file() else None
    return found


def test_no_two_rows_have_one_name():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 150


@pytest.mark.parametrize("row", ROWS, ids=[ascii(row.name) for row in ROWS])
def test_it_is_refused_by_one_message_and_leaves_nothing(row, inputs, called):
    row.spoil(inputs)
    before = tree(inputs)
    result = called(*row.words, cwd=inputs)
    message = result.stderr
    assert result.returncode == 2, message
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert message.removesuffix("\n").isprintable()
    assert len(message) < 2_100
    assert result.stdout == ""
    for part in row.says:
        assert part in message
    assert tree(inputs) == before
    assert sys.path.count(str(inputs)) == 0
