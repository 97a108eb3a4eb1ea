import numpy as np
import torch

from facedistill.distill.teachers.teacher_pass import answers
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec


def test_a_torch_network_is_asked_in_evaluation_mode_without_gradient(faces):
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=16), width=0.25).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ((labels, outputs),) = answers(
        network, faces, np.arange(3), {"feature_map"}, description="faces"
    )
    assert labels.tolist() == [0, 1, 2]
    assert not outputs.feature_map.requires_grad
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
