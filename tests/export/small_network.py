"""A network with what a student is made of, small enough to convert in a moment."""

import numpy as np
import torch
from torch import nn

from facedistill.models.backbones.base import Backbone
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec

SIDE = 16


class Small(Backbone):
    feature_channels = 8

    def __init__(self, steepest):
        super().__init__()
        self.embedding_size = 6
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.activation = nn.PReLU(8)
        self.deep = nn.Sequential(
            nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 8, 1)
        )
        self.pool = nn.Conv2d(8, 8, SIDE // 2, groups=8, bias=False)
        self.linear = nn.Linear(8, 6, bias=False)
        self.norm = nn.BatchNorm1d(6)
        with torch.no_grad():
            self.activation.weight.copy_(torch.linspace(-0.5, steepest, 8))

    def forward_features(self, x):
        x = self.activation(self.stem(x))
        return x + self.deep(x)

    def forward_head(self, features):
        return self.norm(self.linear(torch.flatten(self.pool(features), 1)))


def small_network(steepest=0.9) -> FaceNetwork:
    """Return one fed BGR of uneven mean and std, with statistics that are no identity."""
    torch.manual_seed(0)
    spec = InputSpec(size=SIDE, color="BGR", mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
    network = FaceNetwork(Small(steepest), architecture="small", arguments={}, input=spec)
    with torch.no_grad():
        for _ in range(5):
            network.train()(torch.from_numpy(faces(16, seed=1)))
    return network.eval()


def faces(count, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)


@torch.no_grad()
def embeddings(network, images) -> np.ndarray:
    return network(torch.from_numpy(images)).embedding.numpy()


def least_cosine(first, second) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / lengths).min())
