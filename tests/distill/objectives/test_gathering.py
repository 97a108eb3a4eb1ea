import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from facedistill.distill.objectives.gathering import gathered

ROOT = Path(__file__).parents[3]

# One of two processes, with 5 and 3 of 8 images: the gradient of a shared layer, as
# DistributedDataParallel brings it together, is that of one process which has them all.
PROCESS = """
import sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from facedistill.distill.objectives.gathering import gathered
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import batch_of, outputs_of
from tests.distill.objectives.methods import LABELS, PIXELS, WHOLE_BATCH, cast, made, both_outputs

# A mean over a process's images, each of which sees the whole batch: it counts by its images.
PER_IMAGE = {"adadistill", "margin_distillation", "crd"}
OPTIONS = {"crd": {"negatives": 3}, "triplet": {"margin": 1.0}}
torch.manual_seed(7)
of_student, of_teacher = both_outputs()
rank = int(sys.argv[1])
mine = slice(0, 5) if rank == 0 else slice(5, 8)

def learn(name, part, parallel):
    objective = made(name, **OPTIONS.get(name, {})).double()
    torch.manual_seed(3)
    layer = torch.nn.Linear(5, 5).double()
    model = DistributedDataParallel(layer) if parallel else layer
    # What is drawn is the first process's, wherever the others' generators stand.
    torch.manual_seed(rank if parallel else 0)
    batch = batch_of(LABELS[part])
    student = outputs_of(model(of_student.embedding[part]))
    teacher = outputs_of(of_teacher.embedding[part])
    objective.observe(student, teacher, batch)
    loss, _ = objective(student, teacher, batch)
    if parallel and name in PER_IMAGE:
        loss = loss * 2 * len(batch) / len(LABELS)
    loss.backward()
    state = [x.double().flatten() for x in objective.state_dict().values() if torch.is_tensor(x)]
    return loss.detach(), layer.weight.grad, torch.cat([*state, torch.zeros(1)])

class Mapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = torch.nn.Linear(5, 5)
        small = {"centres": 4, "width": 8, "heads": 2, "position": "euclid"}
        self.urfm = made("urfm", PIXELS, **small)

    def forward(self, grid, tokens):
        student = Outputs(feature_map=self.layer(grid).permute(0, 3, 1, 2))
        return self.urfm(student, Outputs(tokens=tokens), None)[0]

def map_pixels(part, parallel):
    mapped = Mapped().double()
    model = DistributedDataParallel(mapped) if parallel else mapped
    seen = tokens[part].clone().requires_grad_()
    loss = model(grid[part], seen)
    loss.backward()
    return loss.detach(), [w.grad for w in mapped.parameters() if w.requires_grad], seen.grad

grid, tokens = torch.randn(8, 2, 2, 5).double(), torch.randn(8, 11, 3).double()
whole_map = map_pixels(slice(0, 8), False)
whole = {name: learn(name, slice(0, 8), False) for name in WHOLE_BATCH}
distributed.init_process_group("gloo", rank=rank, world_size=2)

(rows, labels) = gathered(of_student.embedding[mine], torch.tensor(LABELS)[mine])
assert torch.equal(rows, of_student.embedding) and labels.tolist() == LABELS
half = of_student.embedding[mine].clone().requires_grad_()
gathered(half)[0].square().sum().backward()
assert torch.allclose(half.grad, 2 * 2 * half)

for name, (loss, gradient, state) in whole.items():
    own_loss, own_gradient, own_state = learn(name, mine, True)
    assert torch.allclose(own_state, state), name
    assert name in PER_IMAGE or torch.allclose(own_loss, loss), name
    assert torch.allclose(own_gradient, gradient), name

loss, gradients, of_tokens = map_pixels(mine, True)
assert torch.allclose(loss, whole_map[0])
# Those of the teacher's weights are the processes' mean, and each image is on one of the two.
assert torch.allclose(of_tokens, 2 * whole_map[2][mine])
assert whole_map[2].abs().max() > 1e-3
assert len(gradients) > 8
for own, wanted in zip(gradients, whole_map[1], strict=True):
    assert torch.allclose(own, wanted)
distributed.destroy_process_group()
print("same")
"""


def test_two_processes_learn_what_one_learns():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                   "OMP_NUM_THREADS": "1"}  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, rank], cwd=ROOT, env=environment,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        for process in processes:
            out, err = process.communicate(timeout=100)
            assert out == "same\n", err
    finally:
        for process in processes:
            process.kill()


def test_one_process_has_everything():
    rows = torch.randn(3, 2, requires_grad=True)
    labels = torch.arange(3)
    assert gathered(rows, labels)[0] is rows
    assert gathered(rows, labels)[1] is labels
