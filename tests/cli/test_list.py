import json

import pytest

from tests.cli.calling import call

KINDS = ("recipes", "comparisons", "networks", "objectives", "formats", "targets")
ENTRIES = ("arcface", "methods", "mobilefacenet", "fcd", "recordio", "onnx")


@pytest.mark.parametrize(("kind", "entry"), [*zip(KINDS, ENTRIES, strict=True)])
def test_every_entry_is_listed_with_a_line_about_it(kind, entry):
    (described,) = json.loads(call("list", kind, "--json")).values()
    assert entry in described
    for name, description in described.items():
        assert description.strip(), name
        assert "\n" not in description
    assert f"  {entry} " in call("list", kind)


def test_all_are_listed_by_default():
    assert list(json.loads(call("list", "--json"))) == [*KINDS]
