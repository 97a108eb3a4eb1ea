import math

from facedistill.cli.output import echo, print_lists, print_mapping

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
