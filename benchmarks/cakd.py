"""Cost of a step of cross-architecture distillation over feature consistency, teacher online.

    python benchmarks/cakd.py [--teacher swin_nano --size 64 --width 0.25 --batch-size 32]

Trains the same student by the same teacher on the same random batches in turn, in one process, and
prints the ratio of the median times of a step: teacher, forward, loss, backward, optimiser. The
data loader, the same for all, is left out. On a CPU times are processor time, which other work on
the machine disturbs less.
"""

from __future__ import annotations

import argparse

import torch
from step_cost import Terms, Trainer, compare, options_of, training_step

from facedistill.data.batch import Batch
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.cross_architecture.pixel_features import find_pixel_features
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import PromptedNetwork, TrainableTeacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec

LABELS: dict[str, dict[str, object]] = {"margin_softmax": {"head": "cosface"}}
TERMS: dict[str, tuple[Terms, int]] = {
    "fcd": ({"fcd": {}}, 0),
    "labels + fcd": (LABELS | {"fcd": {}}, 0),
    "labels + fitnet": (LABELS | {"fitnet": {}}, 0),
    "labels + urfm": (LABELS | {"urfm": {}}, 0),
    "cakd": (LABELS | {"urfm": {}, "prompt_preservation": {}}, 10),
}
"""Objectives, and prompts of the teacher."""


def trainer(terms: Terms, prompts: int, options: argparse.Namespace) -> Trainer:
    torch.manual_seed(0)
    spec = InputSpec(size=options.size)
    plain = FaceNetwork.create(options.teacher, spec)
    student = FaceNetwork.create("mobilefacenet", spec, width=options.width)
    pixels = find_pixel_features(plain)
    assert pixels is not None
    context = RunContext(
        student.embedding_size,
        plain.embedding_size,
        options.identities,
        {
            "run.pixel_features": lambda: (find_pixel_features(student), pixels),
            "run.saliency": lambda: torch.rand(pixels.side, pixels.side),
        },
    )
    if prompts:
        prompted = TrainableTeacher(PromptedNetwork(plain, prompts), plain)
        step = training_step(student, terms, context, prompted)
        return Trainer(step, lambda batch: Outputs(), options)
    teacher, step = NetworkTeacher(plain), training_step(student, terms, context)

    def teach(batch: Batch) -> Outputs:
        return teacher(batch, step.teacher_needs)

    return Trainer(step, teach, options)


def main() -> None:
    parser = options_of(__doc__.splitlines()[0], identities=1000, batch_size=32)
    parser.add_argument("--teacher", default="swin_nano")
    options = parser.parse_args()
    print(f"teacher {options.teacher}")
    compare({name: trainer(*terms, options) for name, terms in TERMS.items()}, options)


if __name__ == "__main__":
    main()
