import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.recipe.loading import load_recipe, require_faces
from tests.recipe.full_recipe import FULL, leaves, refused


def test_missing_files_and_unknown_names(tmp_path):
    assert "No such file" in refused(tmp_path / "none.yaml")
    assert "is a folder, not a file" in refused(make_folder(tmp_path / "folder.yaml"))
    assert "did you mean 'arcface'" in refused("arcfase")
    assert "cannot read" in refused("nul\0.yaml")


def make_folder(path):
    path.mkdir()
    return path


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
places = [place for place, _ in leaves(yaml.safe_load(FULL))]


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(places), depth=st.integers(1, 4), value=values)
def test_any_value_at_any_place_gives_a_recipe_or_one_error(tmp_path_factory, place, depth, value):
    tree = yaml.safe_load(FULL)
    below = tree
    for key in place[:depth][:-1]:
        below = below[key]
    below[place[:depth][-1]] = value
    read_or_refuse(tmp_path_factory, yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(start=st.integers(0, len(FULL)), length=st.integers(0, 12), text=st.text(max_size=6))
def test_any_edit_of_the_text_gives_a_recipe_or_one_error(tmp_path_factory, start, length, text):
    read_or_refuse(tmp_path_factory, FULL[:start] + text + FULL[start + length :])


def read_or_refuse(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load_recipe(path)
    except FacedistillError:
        return
    path.write_text(recipe.to_yaml(), "utf-8")
    again = load_recipe(path)
    assert again == recipe
    assert again.hash == recipe.hash


def test_a_shipped_recipe_is_given_faces():
    with pytest.raises(
        FacedistillError, match=r"recipe arcface: .*--set data\.train=FACES .*=drawn"
    ):
        require_faces(["arcface"], "drawn", ["data.workers=0"])
    require_faces(["arcface"], "x", ["data.train=x"])
    require_faces(["arcface"], "x", ["data={train: x}"])
    require_faces(["my.yaml", "demo"], "x", [])
