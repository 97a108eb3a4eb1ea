from hypothesis import given
from hypothesis import strategies as st

from facedistill.recipe import load_recipe, shipped_recipes
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally
from tests.test_recipe import FULL

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
    # What was understood can be written down and understood again.
    path.write_text(recipe.to_yaml(), "utf-8")
    again = load_recipe(path)
    assert again == recipe
    assert again.hash == recipe.hash
    tally["recipe", "read as it says"] += 1
