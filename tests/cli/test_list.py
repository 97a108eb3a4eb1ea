import json
import subprocess
import sys

import pytest

from tests.cli.calling import call

KINDS = ("recipes", "comparisons", "networks", "objectives", "formats", "layouts", "targets")
ENTRIES = ("arcface", "methods", "mobilefacenet", "fcd", "recordio", "iresnet", "onnx")


@pytest.fixture(scope="module")
def listed():
    """In a process of its own: tests register networks that nobody describes."""
    command = [sys.executable, "-m", "facedistill", "list", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.parametrize(("kind", "entry"), [*zip(KINDS, ENTRIES, strict=True)])
def test_every_entry_is_listed_with_a_line_about_it(listed, kind, entry):
    described = listed[kind]
    assert entry in described
    for name, description in described.items():
        assert description.strip(), name
        assert "\n" not in description
    assert f"  {entry} " in call("list", kind)


def test_all_are_listed_by_default():
    assert list(json.loads(call("list", "--json"))) == [*KINDS]


def test_an_unknown_kind_is_refused_with_the_nearest():
    command = [sys.executable, "-m", "facedistill", "list", "recipe"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: nothing of the kind 'recipe' is listed: did you mean 'recipes'?\n"
