import pytest
import torch

from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx.onnx_file import write
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from tests.engine import standin  # noqa: F401 - registers a tiny network
from tests.runtime.student_input import SPEC


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    """A small network and its ONNX file."""
    torch.manual_seed(0)
    network = FaceNetwork.create("standin", SPEC).eval()
    network.metadata = ModelMetadata(name="small", thresholds={"1e-2": 0.2, "1e-3": 0.5})
    path = tmp_path_factory.mktemp("runtime") / "student.onnx"
    write(network, path, ExportOptions())
    return network, path
