"""A tiny distribution adds an entry of each kind, and the command line uses them."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests import child_process

OBJECTIVE = '''
"""Keeps embeddings short."""
from facedistill.distill.objectives.base import Objective


class ShortEmbedding(Objective):
    """Mean square of the embeddings' elements."""

    needs = frozenset({"student.embedding"})

    def __init__(self, context, *, power: float = 2.0):
        super().__init__()
        self.power = power

    def forward(self, student, teacher, batch):
        length = student.embedding.abs().pow(self.power).mean()
        return length, {"length": length.detach()}
'''

BACKBONE = '''
"""A network of one layer."""
from torch import nn

from facedistill.models.backbones.base import Backbone, EmbeddingSize, InputSize


class OneLayer(Backbone):
    feature_channels = 4

    def __init__(self, embedding_size):
        super().__init__()
        self.embedding_size = embedding_size
        self.features = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(16, embedding_size)

    def forward_features(self, x):
        return self.features(x)

    def forward_head(self, features):
        return self.head(features.flatten(1))


def one_layer(embedding_size: EmbeddingSize = 8, input_size: InputSize = 16) -> OneLayer:
    """One convolution."""
    return OneLayer(embedding_size)
'''

FORMAT = '''
"""Files that hold a number of identities, each with two grey faces."""
from pathlib import Path

import numpy as np

from facedistill.data.dataset_format import Format
from facedistill.runtime.image_file import encode_png
from facedistill.data.dataset import FaceDataset


class GreyFaces(FaceDataset):
    kind = "grey faces"

    def __init__(self, source):
        self.name = source
        self.labels = np.repeat(np.arange(int(Path(source).read_text())), 2)

    def encoded(self, index):
        return encode_png(np.full((16, 16, 3), index, np.uint8))

    def where(self, index):
        return f"{self.name} face {index}"


FORMAT = Format(
    "grey",
    "grey faces",
    "A `.grey` file with a number of identities.",
    recognises=lambda source: source.endswith(".grey"),
    open=lambda source, options: GreyFaces(source),
)
'''

TARGET = '''
"""A file with a document and nothing else."""
from facedistill.export.target import Runtime, Target

TARGET = Target(
    "paper",
    "Paper",
    "tiny_faces.paper_file",
    ".paper",
    Runtime("Paper", "paper", "paper"),
    description="Printed text.",
)
'''

PAPER_FILE = """
import json

from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import EngineUnavailable


def write(network, path, options):
    path.write_text(json.dumps(exported_metadata(network, options)))


def open_engine(path, *, threads=None):
    raise EngineUnavailable("paper computes nothing")


def read_metadata(path):
    return json.loads(path.read_text())
"""

ENTRY_POINTS = """
[facedistill.objectives]
short_embedding = tiny_faces.objective:ShortEmbedding
[facedistill.backbones]
one_layer = tiny_faces.backbone:one_layer
[facedistill.formats]
grey = tiny_faces.grey:FORMAT
[facedistill.targets]
paper = tiny_faces.target:TARGET
"""

REGISTERS = """
from facedistill.data.dataset_format import register as register_format
from facedistill.distill.objectives.registry import objective
from facedistill.export.target import register as register_target
from facedistill.models.registry import register as register_backbone
from tiny_faces.backbone import one_layer
from tiny_faces.grey import FORMAT
from tiny_faces.objective import ShortEmbedding
from tiny_faces.target import TARGET

objective("short_embedding")(ShortEmbedding)
register_backbone(one_layer)
register_format(FORMAT)
register_target(TARGET)
"""

RECIPE = """
name: tiny
data: {train: faces.grey, validation_identities: 0, workers: 0, licence: unknown}
student: {network: one_layer, embedding_size: 8, input: {size: 16}}
objectives: {short_embedding: {weight: 1.0, power: 2.0}}
schedule: {warmup: 0}
training: {steps: 2, batch_size: 4, log_every: 1, device: cpu}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a recipe and data, and the package in `site`."""
    package = tmp_path / "site" / "tiny_faces"
    package.mkdir(parents=True)
    files = {
        "__init__": "",
        "objective": OBJECTIVE,
        "backbone": BACKBONE,
        "grey": FORMAT,
        "target": TARGET,
        "paper_file": PAPER_FILE,
        "everything": REGISTERS,
    }
    for name, code in files.items():
        (package / f"{name}.py").write_text(code.lstrip())
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    (tmp_path / "faces.grey").write_text("4")
    return tmp_path


def install(site: Path) -> None:
    """Do what an installer does beside copying the package."""
    info = site / "tiny_faces-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-faces\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)


def call_in(folder: Path, *words: str) -> None:
    os.chdir(folder)
    sys.path.insert(0, str(folder / "site"))
    child_process.call_command(*words)


def facedistill(folder: Path, *words: str) -> child_process.Ended:
    return child_process.run(call_in, folder, *words)


def use(folder: Path, *options: str) -> None:
    """Inspect the format, train the network by the objective, export it to the target."""
    ran = facedistill(folder, "inspect", "faces.grey", *options)
    assert ran.code == 0, ran.err
    assert "grey faces" in ran.out
    ran = facedistill(folder, "train", "tiny.yaml", "--out", "run", *options)
    assert ran.code == 0, ran.err
    last = (folder / "run" / "metrics.jsonl").read_text().splitlines()[-1]
    assert "short_embedding.length" in json.loads(last)
    model = "run/last.safetensors"
    ran = facedistill(folder, "export", model, "--target", "paper", "--out", "tiny.paper", *options)
    assert ran.code == 0, ran.err
    assert "without a parity check: paper computes nothing" in ran.out + ran.err
    assert json.loads((folder / "tiny.paper").read_text())["architecture"] == "one_layer"


def test_an_installed_distribution_is_used_from_the_command_line(folder):
    install(folder / "site")
    use(folder)


def test_a_module_that_is_imported_by_name_is_used_from_the_command_line(folder):
    use(folder, "--import", "tiny_faces.everything")


def test_without_it_each_name_is_unknown(folder):
    drawn = "data.train=procedural:identities=4,images=2,size=16"
    ran = facedistill(folder, "train", "tiny.yaml", "--set", drawn, "--out", "run")
    assert ran.code == 2
    assert "unknown architecture 'one_layer'" in ran.err
    ran = facedistill(folder, "inspect", "faces.grey")
    assert ran.code == 2
    assert "faces.grey: not a data set" in ran.err


def test_a_broken_distribution_is_refused_only_where_it_is_used(folder):
    install(folder / "site")
    (folder / "site" / "tiny_faces" / "target.py").write_text("import not_there\n")
    (folder / "site" / "tiny_faces" / "backbone.py").write_text("import not_there\n")
    ran = facedistill(folder, "inspect", "faces.grey")
    assert ran.code == 0, ran.err
    ran = facedistill(folder, "train", "tiny.yaml", "--out", "run")
    assert ran.code == 2
    assert "of the installed package tiny-faces cannot be loaded" in ran.err.replace("\n", " ")
