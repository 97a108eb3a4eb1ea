import pickle

import pytest

from facedistill.core.errors import FacedistillError, first_line, naming


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("gesichter/grün.png: 1 x 2", "gesichter/grün.png: 1 x 2"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[2J\0\u2028\u202e", r"\x1b[2J\x00\u2028\u202e"),
        ("no text: \udcff", r"no text: \udcff"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_a_message_is_one_line_that_prints(message, shown):
    error = FacedistillError(message)
    assert str(error) == shown
    assert str(pickle.loads(pickle.dumps(error))) == shown


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\nshapes differ\nat line 3"), "shapes differ"),
        (RuntimeError("  "), "RuntimeError"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_first_line_of_any_error(error, line):
    assert first_line(error) == line


def test_a_message_is_bounded_and_its_details_survive_a_process():
    error = FacedistillError(f"begin {3000 * chr(27)} end", ["one\n", "two"])
    assert len(str(error)) == 1000
    assert str(error).startswith("begin \\x1b")
    assert str(error).endswith("\\x1b end")
    assert " [...] " in str(error)
    assert pickle.loads(pickle.dumps(error)).details == ("one\\n", "two")
    with pytest.raises(FacedistillError, match=r"^key: begin") as raised, naming("key"):
        raise error
    assert raised.value.details == error.details
