import doctest
import sys
from pathlib import Path

import pytest

from facedistill.core import registry
from facedistill.core.errors import FacedistillError
from facedistill.core.registry import Registry

GROUP = "facedistill.tests"


@pytest.fixture
def shapes():
    return Registry("shape", GROUP)


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder that Python imports from; what a test imports out of it is forgotten after it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def install(site: Path, distribution: str, code: str, *points: str) -> None:
    """Install a distribution of one module without an installer."""
    module = distribution.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = "\n".join(point.replace("MODULE", module) for point in points)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")


def test_the_example_of_the_docstring_is_true():
    assert doctest.testmod(registry).failed == 0


def test_an_entry_is_found_by_its_own_name_or_the_one_given(shapes):
    @shapes.register()
    def disc():
        """Round.

        Everywhere.
        """

    square = shapes.register("square")(type("Box", (), {}))
    assert shapes.names() == ["disc", "square"]
    assert (shapes.get("disc"), shapes.get("square")) == (disc, square)
    assert shapes.descriptions()["disc"] == "Round."


def test_an_entry_may_say_itself_what_it_is(shapes):
    entry = type("Entry", (), {"description": "A figure."})()
    shapes.add("entry", entry)
    assert shapes.descriptions() == {"entry": "A figure."}


def test_a_name_is_given_once(shapes):
    shapes.add("disc", 1)
    with pytest.raises(ValueError, match="two shapes are named 'disc'"):
        shapes.add("disc", 2)


def test_the_nearest_name_is_proposed(shapes):
    shapes.add("disc", 1)
    with pytest.raises(FacedistillError, match="unknown shape 'disk': did you mean 'disc'"):
        shapes.get("disk")


def test_a_file_registers_by_being_there(site):
    for folder in ("rooms", "rooms/inner"):
        (site / folder).mkdir()
        (site / folder / "__init__.py").touch()
    (site / "here.py").write_text(
        f"from facedistill.core.registry import Registry\n"
        f"outer = Registry('shape', {GROUP!r}, 'rooms')\n"
        f"whole = Registry('shape', {GROUP!r}, 'rooms', nested=True)\n"
    )
    add = "from here import outer, whole\n[each.add(__name__, __name__) for each in (outer, whole)]"
    for file in ("rooms/disc.py", "rooms/inner/box.py"):
        (site / file).write_text(add)
    import here

    assert here.outer.names() == ["rooms.disc"]
    assert here.whole.names() == ["rooms.disc", "rooms.inner.box"]


def test_an_installed_distribution_adds_entries(shapes, site):
    install(site, "tiny-shapes", '"""Tiny."""\ndef ring(): "Hollow."', "ring = MODULE:ring")
    assert shapes.names() == ["ring"]
    assert "tiny_shapes" not in sys.modules, "a name must not import the module"
    assert shapes.get("ring")() is None
    assert shapes.get("ring") is sys.modules["tiny_shapes"].ring
    assert shapes.descriptions() == {"ring": "Hollow."}


def test_an_entry_that_its_module_registers_too_is_the_same(site):
    code = f"""
from facedistill.core.registry import Registry
shapes = Registry('shape', {GROUP!r})
@shapes.register()
def ring(): pass
"""
    install(site, "own-registry", code, "ring = MODULE:ring", "disc = MODULE")
    import own_registry

    assert own_registry.shapes.get("ring") is own_registry.ring
    with pytest.raises(FacedistillError, match="own_registry registers no shape of that name"):
        own_registry.shapes.get("disc")


def test_a_broken_distribution_is_named_when_its_entry_is_asked_for(shapes, site):
    shapes.add("disc", 1)
    install(site, "broken-shapes", "import not_there", "ring = MODULE:ring")
    assert shapes.get("disc") == 1
    assert shapes.names() == ["disc", "ring"]
    message = "shape 'ring' of the installed package broken-shapes cannot be loaded .*'not_there'"
    with pytest.raises(FacedistillError, match=message):
        shapes.get("ring")
    assert list(shapes.broken()) == ["ring"]
    assert dict(shapes.items()) == {"disc": 1}


def test_an_installed_entry_does_not_take_anothers_name(shapes, site):
    shapes.add("ring", 1)
    install(site, "twin-shapes", "ring = 2", "ring = MODULE:ring")
    with pytest.raises(FacedistillError, match=r"twin-shapes .*two shapes are named 'ring'"):
        shapes.get("ring")
