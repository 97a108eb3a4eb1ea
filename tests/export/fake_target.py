"""A target whose engine is the network, for tests without a converter."""

import numpy as np
import torch

from facedistill.export.target import EngineUnavailable, Runtime

SIDE = 16
RUNTIME = Runtime("Fake", "fake_runtime", "fake-runtime")


class FakeTarget:
    """A target of two files, whose engine is the network itself, with noise where a test asks."""

    def __init__(self):
        self.noise, self.unavailable, self.asked, self.left = 0.0, None, None, ()

    def write(self, network, path, options):
        self.left = sorted(path.parent.iterdir())
        self.network, self.asked = network, options
        path.write_text("graph")
        path.with_suffix(".bin").write_text("weights")

    def open_engine(self, path, *, threads=None):
        assert path.read_text() == "graph"
        if self.unavailable:
            raise EngineUnavailable(self.unavailable)
        return self

    @torch.no_grad()
    def embed(self, images):
        embedding = self.network(torch.from_numpy(images)).embedding.numpy()
        return embedding + np.float32(self.noise) * embedding[:, ::-1]


def faces(count):
    return np.random.default_rng(1).integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)
