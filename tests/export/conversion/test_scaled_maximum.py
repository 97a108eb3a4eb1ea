import numpy as np
import pytest
import torch
from torch import nn

from facedistill.export.conversion.scaled_maximum import ScaledMaximum, replace_prelus
from tests.export.small_network import embeddings, faces, small_network


@pytest.mark.parametrize("steepest", [0.9, 1.0, 1.5])
def test_replacing_prelus_changes_nothing(steepest):
    network = small_network(steepest)
    before = embeddings(network, faces(4))
    replace_prelus(network.backbone)
    np.testing.assert_allclose(embeddings(network, faces(4)), before, atol=1e-5)
    left = [part for part in network.modules() if isinstance(part, nn.PReLU)]
    assert len(left) == (1 if steepest > 1 else 0)


@pytest.mark.parametrize("slopes", [[0.25], [-0.5, 0.0, 1.0]])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5, 4)])
def test_maximum_is_prelu_to_the_last_bit(slopes, shape):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=shape)).float()
    prelu = nn.PReLU(len(slopes))
    prelu.weight.data = torch.tensor(slopes)
    assert torch.equal(ScaledMaximum(prelu.weight.detach())(x), prelu(x).detach())
