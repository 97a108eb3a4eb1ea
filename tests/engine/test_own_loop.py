"""A user's own loop around the training step, without recipe, run or accelerator."""

import subprocess
import sys

import torch

from facedistill import engine
from facedistill.data.loading.loader import Loader, Order
from facedistill.data.open import open_dataset
from facedistill.distill.objectives.base import Objective
from facedistill.engine import TrainingStep, Weight, create_optimizer, create_schedule
from facedistill.faces.augmentation import Augmentation
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers the network


class Distance(Objective):
    """A method of the user: mean squared distance of the embeddings."""

    needs = frozenset({"student.embedding", "teacher.embedding"})

    def forward(self, student, teacher, batch):
        return (student.embedding - teacher.embedding).square().mean(), {}


def test_a_users_own_loop_trains_the_student():
    torch.manual_seed(0)
    faces = open_dataset("procedural:identities=8,images=4,size=16")
    loader = Loader(faces, Order(len(faces), 8, seed=0), augmentation=Augmentation())
    student, teacher = (FaceNetwork.create("standin", InputSpec(size=16)) for _ in range(2))
    step = TrainingStep(student.train(), {"distance": Distance()}, {"distance": Weight()})
    optimizer = create_optimizer(step, "adamw", lr=0.01)
    factor, losses = create_schedule("cosine", total=40), []
    for number, batch in enumerate(loader.batches(0, 40)):
        with torch.no_grad():
            targets = Outputs(embedding=teacher.eval()(batch.images, {"embedding"}).embedding)
        loss, _ = step(batch, targets, number / 40)
        loss.backward()
        step.finish_step(lambda rows: rows)
        optimizer.param_groups[0]["lr"] = 0.01 * factor(number)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])


def test_public_names_are_there_and_the_room_itself_is_cheap():
    assert all(getattr(engine, name) is not None for name in engine.__all__)
    assert not hasattr(engine, "nothing")
    code = (
        "import facedistill.engine, facedistill.experiments, sys; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
