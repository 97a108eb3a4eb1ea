import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally

METADATA = ModelMetadata(name="small", thresholds={"1e-3": 0.31}, metrics={"lfw": 0.5})
NETWORKS = {
    "standin": {"input": InputSpec(size=16, color="BGR"), "norm": True},
    "mbf": {"input": InputSpec(size=16), "embedding_size": 8, "scale": 1, "blocks": (1, 1, 1, 1)},
}
assert standin.standin


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, arguments in NETWORKS.items():
        path = folder / f"{name}.safetensors"
        save_model(FaceNetwork.create(name, **arguments), path, metadata=METADATA)
    return folder


@hostile
@given(data=st.data())
def test_every_weight_and_word_is_the_one_written_or_refused(folder, data):
    # The large file is read less often: what differs is its architecture's arguments.
    name = data.draw(st.sampled_from(["standin"] * 4 + ["mbf"]))
    whole = (folder / f"{name}.safetensors").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    damaged = data.draw(mutations(whole, range(header), text=data.draw(st.booleans())))
    path = folder / "damaged.safetensors"
    path.unlink(missing_ok=True)
    path.write_bytes(damaged.content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = attempt("model file", path, lambda: load_model(path), MEMORY)
    if network is None:
        return
    expected = load_model(folder / f"{name}.safetensors")
    assert (network.architecture, network.arguments) == (expected.architecture, expected.arguments)
    assert (network.input, network.metadata) == (expected.input, expected.metadata)
    written = expected.backbone.state_dict()
    for key, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, written[key]), key
    tally["model file", "read right"] += 1
