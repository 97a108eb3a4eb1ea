import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.loading import load_recipe
from facedistill.recipe.plain_yaml import MAX_BYTES, parse_yaml
from tests.recipe.full_recipe import refused


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no mapping"),
        ("- a\n- b", "no mapping"),
        ("a: b: c", "no YAML"),
        ("a: [1", "no YAML"),
        ("\x00", "no YAML"),
        ("a: 1\na: 2", "'a' is given twice"),
        ("1: 2", "key 1 is no text"),
        ("? [a, b]\n: 1", "no YAML"),
        ("a: !!timestamp 2020-01-01", "neither text nor a number"),
        ("a: !!set {x, y}", "neither text nor a number"),
        ("a: !!python/object/apply:os.system [exit]", "no YAML"),
        ("a: " + "9" * 400, "too large"),
        ("a: 1e308", "too large"),
        ("a: " + "9" * 6000, "no YAML"),
        ("a: " + "[" * 3000 + "]" * 3000, "no YAML"),
        ("a: " + "[" * 60 + "]" * 60, "deeper"),
        ('a: "\\ud800"', "surrogates"),
        ("a: &x [*x]", "aliases"),
        (b"\xff\xfe\xfd", "UTF-8"),
        (b"a: " + b"b" * MAX_BYTES, "bytes"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(write_recipe, text, reason):
    assert reason in refused(write_recipe(text))


def test_alias_and_merge_bombs_are_refused_unexploded(write_recipe):
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    merges = ["a0: &a0 {k: v}"]
    for level in range(1, 30):
        below = ", ".join([f"*a{level - 1}"] * 9)
        lists.append(f"a{level}: &a{level} [{below}]")
        merges.append(f"a{level}: &a{level} {{<<: [{below}]}}")
    for lines in (lists, merges):
        assert "aliases" in refused(write_recipe("\n".join(lines)))


@pytest.mark.parametrize("number", ["0" + "9" * 30, "'" + "9" * 30 + "'", "9" * 30])
def test_numbers_too_large_to_be_read_again_are_refused(tmp_path, number):
    path = tmp_path / "large.yaml"
    path.write_text(load_recipe("fcd").to_yaml().replace("images: 0", f"images: {number}"), "utf-8")
    with pytest.raises(FacedistillError, match=r"large\.yaml.*a number is too large"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-3", 3e-3),
        ("-.5", -0.5),
        ("+1.5E+3", 1500.0),
        ("2.", 2.0),
        ("-12", -12),
        *((text, text) for text in ("1:59:59", "1:59:59.0", "017", "0x1f", "1_000", "2020-01-01")),
    ],
)
def test_a_number_is_what_anybody_reads_as_one(text, value):
    parsed = parse_yaml(f"a: {text}", "it")["a"]
    assert parsed == value
    assert type(parsed) is type(value)
