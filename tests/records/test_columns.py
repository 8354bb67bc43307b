"""Typed rows: what a table holds comes back, and what is wrong is named."""

import gzip
from typing import Annotated

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from invaudit.records import Column, Row, read_rows, write_rows
from invaudit.records.columns import BadFraction, Count, Fraction, Seconds, Text, distinct
from invaudit.runtime import RunFolderError


class Sample(Row):
    name: str
    """A name."""
    n: Count = None
    share: BadFraction = None
    level: Fraction = None
    seconds: Seconds = None
    weight: Annotated[float | None, Column(unit="kg")] = None
    good: bool = False
    reason: Text = None
    label: str = ""


ROWS = [
    Sample(name="007", n=3, share=0.1 + 0.2, level=1.0, seconds=1e-7, weight=1e22, good=True, reason='a, "b"\nc'),
    Sample(name="None", n=0, share=0.0, level=float("nan")),
]


def test_what_is_written_comes_back(tmp_path):
    write_rows(tmp_path / "rows.csv", Sample, ROWS)
    assert read_rows(tmp_path / "rows.csv", Sample) == ROWS


def test_the_text_is_that_of_pandas(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        Sample(name=f"r{n}", n=n, share=rng.random(), level=rng.normal() * 1e-9, good=n % 2 == 0) for n in range(50)
    ]
    write_rows(tmp_path / "rows.csv", Sample, rows)
    frame = pd.DataFrame([row.model_dump() for row in rows])
    assert (tmp_path / "rows.csv").read_text() == frame.to_csv(index=False, lineterminator="\n")


def test_no_file_and_an_empty_one_have_no_rows(tmp_path):
    assert read_rows(tmp_path / "rows.csv", Sample) == []
    (tmp_path / "rows.csv").write_text("\n")
    assert read_rows(tmp_path / "rows.csv", Sample) == []


def test_numbers_of_numpy_are_plain_and_nan_is_unknown():
    row = Sample(name="a", n=np.int64(3), share=np.float32(0.5), level=np.nan, good=np.True_)
    assert (type(row.n), type(row.share), row.level, row.good) == (int, float, None, True)


def test_columns_say_what_they_hold():
    columns = Sample.columns()
    assert list(columns) == list(Sample.model_fields)
    assert [name for name, column in columns.items() if column.is_rate] == ["share", "level"]
    assert (columns["share"].better, columns["level"].better, columns["weight"].unit) == ("lower", None, "kg")
    assert [name for name in columns if Sample.is_numeric(name)] == ["n", "share", "level", "seconds", "weight"]


def test_older_and_newer_files_are_read(tmp_path):
    (tmp_path / "rows.csv").write_text("share,later\n0.5,1\n")
    assert read_rows(tmp_path / "rows.csv", Sample, {"name": "a"}) == [Sample(name="a", share=0.5)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,share\na,0.5\nb,x\n", r"rows\.csv, line 3, column share: .*\'x\'"),
        ("name,share\n,0.5\n", r"line 2, column name"),
        ("share\n0.5\n", r"line 2, column name"),
        ("name,share\na,nan\n", r"line 2, column share: .*finite"),
    ],
)
def test_a_damaged_cell_is_named(tmp_path, text, words):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(RunFolderError, match=words):
        read_rows(tmp_path / "rows.csv", Sample)


def test_a_row_is_not_changed_and_takes_no_other_columns():
    with pytest.raises(ValidationError):
        ROWS[0].n = 4
    with pytest.raises(ValidationError):
        Sample(name="a", other=1)


def test_distinct_names_keep_their_order():
    assert distinct(["b", None, "a", "b"]) == ["b", "a"]


def test_a_damaged_table_is_refused_by_name(tmp_path):
    for content in (b"not gzip", gzip.compress(b"a\n1\n")[:-6]):
        (tmp_path / "table.csv.gz").write_bytes(content)
        with pytest.raises(RunFolderError, match=r"table\.csv.* is damaged"):
            read_rows(tmp_path / "table.csv", Sample)
