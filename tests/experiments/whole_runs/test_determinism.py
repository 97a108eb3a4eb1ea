import os
import subprocess
import sys

import pytest
import torch

from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run

FACES = "procedural:identities=14,images=4,size=32"
SETTINGS = [
    f"data.train={FACES}",
    "data.validation_identities=6",
    "data.validation_pairs=20",
    "data.augmentation={shift: 0.1, scale: 0.1, rotation: 10, occlusion: 0.5, brightness: 0.3, "
    "contrast: 0.3, grayscale: 0.3, blur: 0.5, downscale: 0.5, jpeg: 0.5}",
    "student.network=mobilefacenet",
    "student.arguments={width: 0.25}",
    "student.input.size=32",
    "training.steps=4",
    "training.ema=0.5",
]

SMALLEST = ["student.network=standin", "student.arguments={}"]


@pytest.fixture(params=["train", "distill"])
def command(request):
    return request.param


@pytest.fixture
def settings(command, tmp_path):
    if command == "train":
        return SETTINGS
    torch.manual_seed(5)
    teacher = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.25, embedding_size=12)
    embed_teacher(teacher, open_dataset(FACES), tmp_path / "bank")
    teacher = [f"teacher.bank={tmp_path / 'bank'}", "teacher.view=clean"]
    return [*SETTINGS, *teacher, "objectives.fcd={}", "objectives.kd={}"]


def test_the_same_seed_gives_the_same_run_whatever_the_workers(tmp_path, settings):
    options = {
        "0": ["data.workers=0"],
        "again": ["data.workers=0"],
        "1": ["data.workers=1"],
        "2": ["data.workers=2"],
        "ram": ["data.workers=2", "data.cache=ram"],
    }
    for name, option in options.items():
        run(tiny_recipe(*settings, *SMALLEST, *option), tmp_path / name, lambda line: None)
    for name in options:
        assert_same_run(tmp_path / name, tmp_path / "0")
    files = [(tmp_path / name / "last.safetensors").read_bytes() for name in ("0", "again")]
    assert files[0] == files[1]


@pytest.mark.parametrize("command", ["distill"], indirect=True)
def test_the_same_seed_gives_the_same_run_in_another_process(tmp_path, settings, command):
    recipe = tiny_recipe(*settings)
    run(recipe, tmp_path / "here", lambda line: None)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONHASHSEED": str(os.getpid()),  # sets of strings have another order than here
    }
    subprocess.run(
        [
            sys.executable, "-m", "facedistill",
            command, str(path), "--out", str(tmp_path / "there"),
        ],
        env=environment,
        capture_output=True,
        check=True,
    )  # fmt: skip
    assert_same_run(tmp_path / "there", tmp_path / "here")


def test_another_seed_gives_another_run(tmp_path, settings):
    for seed in (0, 1):
        run(
            tiny_recipe(*settings, *SMALLEST, f"seed={seed}"),
            tmp_path / str(seed),
            lambda line: None,
        )
    networks = [load_model(tmp_path / n / "last.safetensors").backbone for n in ("0", "1")]
    weights = [dict(network.named_parameters()) for network in networks]
    assert not torch.equal(weights[0]["head.weight"], weights[1]["head.weight"])
    losses = [read_metrics(tmp_path / n / "metrics.jsonl")[0]["loss"] for n in ("0", "1")]
    assert losses[0] != losses[1]
