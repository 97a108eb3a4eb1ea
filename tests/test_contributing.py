"""A new objective takes three files: shown by adding one to a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

FILES = {
    "src/facedistill/distill/objectives/embedding/lengths.py": '''"""Lengths of embeddings."""

from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective


@objective("lengths")
class Lengths(Objective):
    """Squared difference of the embeddings' lengths, mean over the batch; 0 to infinity."""

    needs = frozenset({"student.embedding", "teacher.embedding"})

    def __init__(self, context, *, factor: float = 0.5):
        super().__init__()
        context.require_teacher()
        self.factor = factor

    def forward(self, student, teacher, batch):
        of_student, of_teacher = (at_least_float32(x.embedding) for x in (student, teacher))
        difference = of_student.norm(dim=1) - of_teacher.norm(dim=1)
        return self.factor * difference.square().mean(), {}
''',
    "src/facedistill/recipe/shipped/lengths.yaml": """# Lengths of embeddings.
name: lengths
data: {train: "procedural:identities=4,images=4,size=32", licence: none, workers: 0}
teacher: {bank: bank, licence: unknown}
student: {arguments: {width: 0.25}, embedding_size: 16, input: {size: 32}}
objectives: {lengths: {weight: 0.01}}
training: {steps: 2, batch_size: 8}
""",
    "tests/distill/objectives/embedding/test_lengths.py": """import torch

from facedistill.distill.objectives import loss


def test_half_a_squared_difference():
    assert loss("lengths")(torch.ones(4, 4), torch.zeros(4, 9)) == 2
""",
}

CONTRACT = "tests/distill/objectives/test_contract.py"
USE_AND_TEST = f"""
import pytest
import facedistill
from facedistill.distill.objectives import objective_names
from facedistill.models.face_network import FaceNetwork
from facedistill.recipe.loading import load_recipe
from facedistill.runtime.input_spec import InputSpec
assert "lengths" in objective_names()
teacher = FaceNetwork.create("mobilefacenet", InputSpec(size=32), embedding_size=16, width=0.25)
facedistill.embed(teacher, load_recipe("lengths").data.train, "bank")
print(facedistill.distill("lengths", "run").steps, "steps")
words = ["-vv", "-p", "no:cacheprovider", "-k", "lengths", "{CONTRACT}", "{list(FILES)[2]}"]
raise SystemExit(pytest.main(words))
"""


def test_three_files_make_an_objective(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in FILES.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, "-c", USE_AND_TEST],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 steps" in done.stdout
    assert "test_lengths.py::" in done.stdout
    assert f"{CONTRACT}::test_gradients[lengths] PASSED" in done.stdout
