import sys
from types import SimpleNamespace

import pytest
import torch

from facedistill.export.target import TARGETS, ExportOptions, Target
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network
from tests.export.fake_target import RUNTIME, SIDE, FakeTarget


@pytest.fixture
def runtime(monkeypatch):
    made = FakeTarget()
    module = SimpleNamespace(write=made.write, open_engine=made.open_engine)
    monkeypatch.setitem(sys.modules, "fake_target", module)
    fake = Target(
        *("fake", "Fake", "fake_target", ".fake", RUNTIME),
        companions=(".bin",),
        defaults=ExportOptions(batch=2),
    )
    monkeypatch.setitem(TARGETS._entries, "fake", fake)
    return made


@pytest.fixture
def network():
    torch.manual_seed(0)
    return FaceNetwork.create("standin", InputSpec(size=SIDE)).train()
