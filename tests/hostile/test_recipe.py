from itertools import islice, product
from string import ascii_letters as LETTERS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.recipe.loading import load_recipe, shipped_recipes
from facedistill.recipe.plain_yaml import MAX_BYTES
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally
from tests.recipe.full_recipe import FULL

WHOLE = {"full": FULL, **{name: load_recipe(name).to_yaml() for name in shipped_recipes()}}


@hostile
@given(data=st.data())
def test_every_recipe_is_one_or_refused(tmp_path_factory, data):
    whole = WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))].encode()
    stops = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    lines = list(zip([0, *stops], stops, strict=False))
    damaged = data.draw(mutations(whole, records=lines, text=True))
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(damaged.content)
    recipe = attempt("recipe", path, lambda: load_recipe(path), MEMORY)
    if recipe is None:
        return
    # A recipe that was read can be written and read again.
    path.write_text(recipe.to_yaml(), "utf-8")
    again = load_recipe(path)
    assert again == recipe
    assert again.hash == recipe.hash
    tally["recipe", "read right"] += 1


LARGEST_MEMORY = 128 << 20
"""Bytes that the largest recipe may take: 512 for each of its own."""


@pytest.mark.parametrize(
    "text",
    [
        "{" + ",".join(map("".join, islice(product(LETTERS, repeat=3), MAX_BYTES // 4 - 1))) + "}",
        "objectives: {" + ",".join(f"k{n}: {{a: b}}" for n in range(MAX_BYTES // 64)) + "}",
        "[" * MAX_BYTES,
        "- " * (MAX_BYTES // 2),
        "? " * (MAX_BYTES // 2),
        "seed: " + "9" * (MAX_BYTES - 6),
        "seed: " + "1:" * (MAX_BYTES // 2 - 3),
        "seed: 1e" + "9" * (MAX_BYTES - 8),
        "name: !!binary " + "A" * (MAX_BYTES - 16),
        "x" * 100_000 + ": 1",
        '"' + "x" * 100_000 + '": 1',
    ],
    ids=lambda text: text[:8],
)
def test_the_largest_recipes_are_refused_within_bounds(tmp_path, text):
    path = tmp_path / "large.yaml"
    path.write_text(text)
    assert attempt("large recipe", path, lambda: load_recipe(path), LARGEST_MEMORY) is None
