"""Cost of a step of CoupleFace over a step of feature consistency alone.

    python benchmarks/coupleface.py

Trains the same student on the same random batches with each set of objectives in turn in one
process, and prints the ratio of the median times of a step: forward, loss, backward, optimiser,
memories. The data loader and the bank's look-up, the same for all, are left out. On a CPU
times are processor time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse

import torch
from step_cost import Terms, Trainer, compare, options_of, training_step
from torch.nn import functional as F

from facedistill.distill.bank.mining import Neighbours, nearest
from facedistill.distill.objectives.context import RunContext
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec

TERMS: dict[str, Terms] = {
    "fcd": {"fcd": {}},
    "fcd + mrd": {"fcd": {}, "mrd": {}},
    "fcd + rad": {"fcd": {}, "rad": {}},
    "fcd + rad_queue": {"fcd": {}, "rad_queue": {}},
    "coupleface": {"fcd": {}, "rad": {}, "margin_softmax": {}},
}


def trainer(terms: Terms, options: argparse.Namespace) -> Trainer:
    torch.manual_seed(0)
    prototypes = F.normalize(torch.randn(options.identities, options.dimension))
    context = RunContext(
        options.dimension,
        options.dimension,
        options.identities,
        {"run.neighbours": lambda count: Neighbours(prototypes, *nearest(prototypes, count))},
    )
    student = FaceNetwork.create(
        "mobilefacenet",
        InputSpec(size=options.size),
        embedding_size=options.dimension,
        width=options.width,
    )
    rows = torch.randn(options.batch_size, options.dimension, device=options.device)
    teacher = Outputs(embedding=rows)
    return Trainer(training_step(student, terms, context), lambda batch: teacher, options)


def main() -> None:
    parser = options_of(__doc__.splitlines()[0], identities=4400, batch_size=128)
    parser.add_argument("--dimension", type=int, default=512)
    options = parser.parse_args()
    compare({name: trainer(terms, options) for name, terms in TERMS.items()}, options)


if __name__ == "__main__":
    main()
