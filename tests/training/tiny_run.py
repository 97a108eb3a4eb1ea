"""Runs and banks that take a fraction of a second."""

import torch

from facedistill.data.opening import open_dataset
from facedistill.distill.embed import embed_teacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.input_spec import InputSpec
from facedistill.training.run import run
from tests.training.standin import tiny_recipe


def train(folder, *settings, say=lambda line: None):
    return run(tiny_recipe(*settings), folder, say)


def quick_pairs(evaluate):
    return lambda network, pairs, **options: evaluate(network, pairs, **options | {"resamples": 0})


def make_bank(folder, data, **options):
    torch.manual_seed(5)
    teacher = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=12)
    embed_teacher(teacher, open_dataset(data), folder, **options)
    return teacher
