"""Evaluations of tiny networks, as reports show them."""

import numpy as np
import torch

from facedistill.evaluation.evaluate import evaluate as measure
from facedistill.evaluation.evaluate import open_protocol
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.outputs import Outputs
from tests.data.formats.ijb_folder import write_ijb

SPEC = "procedural:identities=14,images=4,size=40,difficulty=0.3"
FARS = (0.1, 1e-4)


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def evaluate(embedder, protocol, against=None, **settings):
    return measure(embedder, protocol, EvaluationOptions(**settings), against=against)


def noisy(images, needs):
    generator = torch.Generator().manual_seed(int(images.long().sum()))
    clean = pixels(images, needs).embedding
    return Outputs(embedding=clean + 60 * torch.randn(clean.shape, generator=generator))


def ijb_folder(folder):
    """An IJB folder's protocol, and embeddings of its faces."""
    identities = write_ijb(folder)["identities"]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(identities), 8)) + 2 * np.eye(12, 8)[identities]
    return open_protocol(folder), StoredEmbeddings("faces.npy", vectors)
