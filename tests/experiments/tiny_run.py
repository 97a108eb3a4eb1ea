"""Runs and banks that take a fraction of a second."""

from dataclasses import replace

import torch

from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe


def train(folder, *settings, say=lambda line: None):
    return run(tiny_recipe(*settings), folder, say)


def without_intervals(evaluate):
    return lambda network, protocol, options: evaluate(
        network, protocol, replace(options, resamples=0)
    )


def make_bank(folder, data, **options):
    torch.manual_seed(5)
    teacher = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=12)
    embed_teacher(teacher, open_dataset(data), folder, **options)
    return teacher
