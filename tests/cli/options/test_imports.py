import sys

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.imported_modules import VARIABLE
from tests.cli.calling import call

NETWORK = '''"""An architecture of somebody else's."""
from facedistill.models.backbones.mobilefacenet import mobilefacenet
from facedistill.models.registry import register


@register
def their_network(width: float = 0.25):
    """Build theirs."""
    return mobilefacenet(width=width)
'''


def test_an_imported_module_adds_what_it_registers(tmp_path, monkeypatch):
    from facedistill.models.registry import BACKBONES

    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.syspath_prepend(tmp_path)
    BACKBONES.names()  # Imports the package, so that nothing else is undone below.
    monkeypatch.setattr(BACKBONES, "_entries", {**BACKBONES._entries})
    (tmp_path / "their_architecture.py").write_text(NETWORK)
    assert "their_network" not in call("list", "networks")
    assert "Build theirs." in call("list", "networks", "--import", "their_architecture")
    del sys.modules["their_architecture"]


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
