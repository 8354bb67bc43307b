import pytest

from invaudit.runtime.boundary import foreign, lacks_memory, reason
from invaudit.runtime.errors import DataError, MissingDataError, ModelError
from invaudit.runtime.numbers import LARGEST, whole_number
from invaudit.runtime.text import MOST, printable, shown


class OwnError(Exception):
    def __str__(self):
        return "\x1b[31m" + "x" * 10_000


@pytest.mark.parametrize(
    "error",
    [ValueError("a"), KeyError("a"), OSError(5, "a"), RecursionError(), AssertionError(), StopIteration(), OwnError()],
    ids=repr,
)
def test_whatever_foreign_code_raises_becomes_one_error(error):
    with (
        pytest.raises(DataError, match=r"^a\.bin cannot be read \(.*\); fetch it$") as caught,
        foreign("a.bin cannot be read", DataError, remedy="fetch it"),
    ):
        raise error
    assert caught.value.__cause__ is error
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_foreign_code_does_not_end_the_process():
    with pytest.raises(ModelError, match="SystemExit: 0"), foreign("net:make", ModelError):
        raise SystemExit(0)


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
        MissingDataError("x"),
    ],
    ids=repr,
)
def test_what_is_not_about_the_input_passes_as_it_is(error):
    with pytest.raises(type(error)) as caught, foreign("a.bin", ModelError):
        raise error
    assert caught.value is error


def interrupted_in_the_middle():
    try:
        raise KeyboardInterrupt
    finally:
        [].pop()


def test_what_fails_because_of_an_interruption_passes_as_it_is():
    with pytest.raises(IndexError), foreign("a.bin", ModelError):
        interrupted_in_the_middle()


def test_a_reason_is_one_line_with_the_type():
    assert reason(ValueError("a\nb")) == "ValueError: a b"
    assert reason(FileNotFoundError(2, "No such file", "x")) == "No such file"
    assert lacks_memory(RuntimeError("CUDA out of memory. Tried"))
    assert not lacks_memory(ValueError("out of memory"))


def test_a_text_is_one_line_of_bounded_length():
    assert printable("a\x1b[31m\r\n\0\u202eb\udcff") == r"a\x1b[31m\r\n\x00\u202eb\udcff"
    assert printable("Größe 5 µm") == "Größe 5 µm"
    long = printable("a" * 10**6 + "end")
    assert len(long) < MOST + 10
    assert long.endswith("end")


def test_a_value_is_shown_without_making_all_of_it():
    value = ["x"]
    for _ in range(60):
        value = [value] * 10
    assert len(shown(value)) < 1000
    assert shown(10**5000) == "a whole number of about 5000 digits"
    assert len(shown("x" * 10**6)) < 250
    assert shown({"a": 1}) == "{'a': 1}"


@pytest.mark.parametrize("text", ["", " 1", "+1", "-1", "1_0", "1.0", "0x1", "²", "٣", "9" * 5000, str(LARGEST + 1)])
def test_only_plain_digits_are_a_whole_number(text):
    assert whole_number(text) is None


def test_plain_digits_are_a_whole_number():
    assert [whole_number(text) for text in ("0", "007", str(LARGEST))] == [0, 7, LARGEST]
