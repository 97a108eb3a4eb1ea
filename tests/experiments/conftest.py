from dataclasses import replace

import pytest
import torch

from facedistill.experiments import measurement
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.runtime.input_spec import InputSpec


@pytest.fixture
def few_resamples(monkeypatch):
    """Intervals of 20 resamples, in this process."""
    evaluate = measurement.evaluate

    def evaluate_quickly(network, protocol, options):
        return evaluate(network, protocol, replace(options, resamples=20))

    monkeypatch.setattr(measurement, "evaluate", evaluate_quickly)


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    """A small Transformer's model file, untrained."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("teacher") / "swin.safetensors"
    save_model(FaceNetwork.create("swin_nano", InputSpec(size=32), embedding_size=12), path)
    return path
