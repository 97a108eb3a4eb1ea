"""One of two processes, with 5 and 3 of 8 images, which learn together what one learns alone.

Every objective of the registry takes two steps, so that what it remembers of the
first counts in the second. Gradients are of all that trains: the outputs that it reads and its own
weights. Their mean over the processes is taken, as in training.
"""

import os

import torch
from torch import distributed

from facedistill.distill.objectives.gathering import gathered, mean_of_processes
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import batch_of
from tests.distill.objectives.registered import LABELS, NAMES, every, outputs, read

STEPS = [(*outputs(seed=4), [0, 0, 1, 2, 2, 1, 1, 0]), (*outputs(seed=5), LABELS)]
"""Outputs of both networks, batch and labels; one identity of the second step is new."""
SLICES = slice(0, 5), slice(5, 8)
OPTIONS = {
    "crd": {"negatives": 3},
    "gkd": {"groups": "batch", "step": 1, "share": 0.5},
    "triplet": {"margin": 1.0},
}
"""So that some are left out, or all count."""


def part_of(outputs, rows):
    """These rows as leaves, which take gradients."""
    return Outputs(
        **{
            k: None if v is None else v[rows].clone().requires_grad_()
            for k, v in vars(outputs).items()
        }
    )


def two_steps(name, rows, seed):
    """Loss, gradients (of images first, then of weights) and state after two steps."""
    objective = every(name, **OPTIONS.get(name, {})).double()
    # What is drawn is the first process's, wherever the others' generators stand.
    torch.manual_seed(seed)
    for of_student, of_teacher, images, labels in STEPS:
        student, teacher = part_of(of_student, rows), part_of(of_teacher, rows)
        batch = batch_of(labels[rows])
        batch.landmarks = images.landmarks[rows]
        objective.observe(student, teacher, batch)
        loss, _ = objective(student, teacher, batch)
        inputs = [*read(objective, "student", student), *read(objective, "teacher", teacher)]
        weights = [each for each in objective.parameters() if each.requires_grad]
        gradients = torch.autograd.grad(
            loss, [*inputs, *weights], allow_unused=True, materialize_grads=True
        )
        objective.finish_step(lambda each: gathered(each)[0])
    state = [x for x in objective.state_dict().values() if torch.is_tensor(x)]
    return loss.detach(), gradients[: len(inputs)], gradients[len(inputs) :], state


def same(name, whole, rank, weight):
    """Whether the processes' mean, each counted by `weight`, is the whole batch's."""
    loss, of_images, of_weights, state = two_steps(name, SLICES[rank], rank)
    pairs = [(mean_of_processes(weight * loss), whole[0])]
    pairs += [
        (weight * own / 2, all_rows[SLICES[rank]])
        for own, all_rows in zip(of_images, whole[1], strict=True)
    ]
    pairs += [
        (mean_of_processes(weight * own), other)
        for own, other in zip(of_weights, whole[2], strict=True)
    ]
    pairs += zip(state, whole[3], strict=True)
    return all(torch.allclose(own, other) for own, other in pairs)


def everywhere(holds):
    """Whether it holds in both processes."""
    return bool(mean_of_processes(torch.tensor(float(holds))) == 1)


def learn_together():
    """Print `same` where it is."""
    rank = int(os.environ["RANK"])
    wholes = {name: two_steps(name, slice(0, 8), 0) for name in NAMES}
    distributed.init_process_group("gloo")

    rows, labels = gathered(STEPS[0][0].embedding[SLICES[rank]], torch.tensor(LABELS)[SLICES[rank]])
    assert torch.equal(rows, STEPS[0][0].embedding)
    assert labels.tolist() == LABELS
    half = rows[SLICES[rank]].clone().requires_grad_()
    gathered(half)[0].square().sum().backward()
    assert torch.allclose(half.grad, 2 * 2 * half)

    for name, whole in wholes.items():
        assert any(each.abs().max() > 1e-6 for each in whole[1]), f"{name} has no gradient"
        # A mean over a process's own images counts by their number; one of all images counts once.
        by_images = 2 * len(LABELS[SLICES[rank]]) / len(LABELS)
        rules = [everywhere(same(name, whole, rank, weight)) for weight in (1, by_images)]
        assert any(rules), name
    distributed.destroy_process_group()
    print("same")
