import numpy as np
import torch

from facedistill.export.conversion.pixel_backbone import PixelBackbone
from tests.export.small_network import embeddings, faces, small_network


def test_raw_planes_give_what_raw_faces_give():
    network = small_network()
    images = faces(5)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        embedding = PixelBackbone(network.backbone, network.input).eval()(planes).numpy()
    np.testing.assert_allclose(embedding, embeddings(network, images), atol=1e-4)


def test_it_has_the_backbones_sizes_and_parameters():
    backbone = small_network().backbone
    wrapped = PixelBackbone(backbone, small_network().input)
    assert (wrapped.embedding_size, wrapped.feature_channels) == (6, 8)
    assert {id(each) for each in backbone.parameters()} < {id(e) for e in wrapped.parameters()}
    assert not any(each.requires_grad for each in wrapped.normalise.parameters())
