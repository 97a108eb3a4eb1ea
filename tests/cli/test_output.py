import math
from pathlib import Path

import pytest

from facedistill.cli.output import check_sheet, echo, echo_next, print_lists, print_mapping
from facedistill.core.errors import FacedistillError

NAME = "a\x1b[2Jb\r\udcff\u202e"
SHOWN = r"a\x1b[2Jb\r\udcff\u202e"


def test_names_say_nothing_to_the_terminal(capsys):
    echo(f"one\n{NAME}")
    echo(NAME, err=True)
    print_mapping({"name": NAME})
    print_lists({NAME: {NAME: NAME}})
    out, err = capsys.readouterr()
    assert err == f"{SHOWN}\n"
    assert out.splitlines() == [
        *("one", SHOWN, f"name  {SHOWN}", f"{SHOWN}:", f"  {SHOWN}  {SHOWN}"),
    ]


def test_json_of_numbers_that_are_not_finite_is_json(capsys):
    print_mapping({"nme": math.nan, "name": NAME}, as_json=True)
    assert capsys.readouterr().out.splitlines()[1] == '  "nme": null,'


def test_values_are_shown_without_signs_of_code(capsys):
    print_mapping({"sizes": {"8x8": 3, "9x9": 1}, "none": None, "views": ["plain", "flipped"]})
    print_mapping({"input": {"size": 112, "mean": (0.5, 0.5)}, "empty": [], "given": True})
    print_mapping({"bytes": 601620, "of": {"sets": [{"images": 1000}]}})
    assert capsys.readouterr().out.splitlines() == [
        "sizes  8x8 3, 9x9 1",
        "none   -",
        "views  plain, flipped",
        "input  size 112, mean (0.5, 0.5)",
        "empty  none",
        "given  yes",
        "bytes  601,620",
        "of     sets (images 1,000)",
    ]


def test_the_next_command_is_as_a_shell_takes_it(capsys):
    echo_next(("export", Path("my runs"), "--out", "student.onnx"), ("inspect", "x"))
    assert capsys.readouterr().out.splitlines() == [
        "next: facedistill export 'my runs' --out student.onnx",
        "next: facedistill inspect x",
    ]


def test_a_sheet_is_a_png_file(tmp_path):
    with pytest.raises(FacedistillError, match=r"a\.xyz: a sheet is a PNG file: call it a\.png"):
        check_sheet(tmp_path / "a.xyz", False, None)
