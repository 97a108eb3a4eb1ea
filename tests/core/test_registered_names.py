import pytest

from facedistill.core import registered_names as names
from facedistill.core.errors import FacedistillError
from facedistill.core.registry import BACKBONES, OBJECTIVES
from facedistill.distill.objectives.registry import objectives
from facedistill.models.registry import BACKBONES as architectures


@pytest.mark.parametrize(
    ("group", "package", "registry"),
    [
        (OBJECTIVES, "facedistill.distill.objectives", objectives),
        (BACKBONES, "facedistill.models.backbones", architectures),
    ],
)
def test_files_state_all_that_they_register(group, package, registry, monkeypatch):
    own = [name for name, entry in registry.items() if entry.__module__.startswith(package)]
    assert {*own} <= {*names.registered_names(group, package)} == {*registry.names()}
    monkeypatch.setattr(names, "registry_of", lambda group: None)
    monkeypatch.setattr(names, "entry_points", lambda group: [])
    assert names.registered_names(group, package) == own


@pytest.mark.parametrize("imported", [True, False])
def test_an_unknown_name_is_refused_as_the_registry_refuses_it(imported, monkeypatch):
    if not imported:
        monkeypatch.setattr(names, "registry_of", lambda group: None)
    names.require_registered(OBJECTIVES, ["fcd"])
    with pytest.raises(FacedistillError) as refused:
        names.require_registered(OBJECTIVES, ["fcd", "fdc"])
    with pytest.raises(FacedistillError) as by_registry:
        objectives.get("fdc")
    assert str(refused.value) == str(by_registry.value)
