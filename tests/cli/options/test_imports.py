import sys

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.imported_modules import VARIABLE
from tests.cli.calling import call

NETWORK = '''"""An architecture of a third party."""
from facedistill.models.backbones.mobilefacenet import mobilefacenet
from facedistill.models.registry import register


@register
def third_party_network(width: float = 0.25):
    """Build a third party's network."""
    return mobilefacenet(width=width)
'''


def test_an_imported_module_adds_what_it_registers(tmp_path, monkeypatch):
    from facedistill.models.registry import BACKBONES

    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.syspath_prepend(tmp_path)
    BACKBONES.names()  # Imports the package, so that nothing else is undone below.
    monkeypatch.setattr(BACKBONES, "_entries", {**BACKBONES._entries})
    (tmp_path / "third_party_architecture.py").write_text(NETWORK)
    assert "third_party_network" not in call("list", "networks")
    assert "Build a third party's network." in call(
        "list", "networks", "--import", "third_party_architecture"
    )
    del sys.modules["third_party_architecture"]


@pytest.mark.parametrize(
    "words",
    [
        ["train", "arcface"],
        ["evaluate", "x.onnx", "pairs"],
        ["embed", "--data", "faces", "--out", "bank", "--teacher", "x.onnx"],
        ["compare", "arcface", "--out", "x"],
    ],
)
def test_a_module_that_is_not_there_is_refused_before_all(words):
    with pytest.raises(FacedistillError, match="--import no_such_module: No module named"):
        call(*words, "--import", "no_such_module")
