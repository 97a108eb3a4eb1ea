import json

import numpy as np
import pytest
import torch

from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics.embedding_health import embedding_health
from facedistill.experiments.run_health import run_health
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.runtime.input_spec import InputSpec
from tests.experiments.tiny_run import train

CPU = torch.device("cpu")
SPLIT = ("data.validation_identities=3", "data.validation_pairs=20")


def test_a_finished_run_says_how_its_embeddings_lie(tmp_path):
    lines = []
    for settings, kind, images in ((SPLIT, "validation", 12), ((), "training", 32)):
        summary = train(tmp_path / kind, *settings, say=lines.append)
        stored = json.loads((tmp_path / kind / "summary.json").read_text())["health"]
        assert stored == summary.health
        assert (stored["faces"], stored["images"]) == (kind, images)
        assert any(line.startswith(f"{kind} images, embeddings: mean of unit") for line in lines)
        assert train(tmp_path / kind, *settings).health == stored


def test_the_figures_are_those_of_the_best_weights(tmp_path):
    summary = train(tmp_path / "run")
    faces = open_dataset("procedural:identities=8,images=4,size=16")
    images = np.stack([faces[index].image for index in range(len(faces))])
    network = load_model(summary.model)
    with torch.no_grad():
        views = [network(torch.from_numpy(each.copy())) for each in (images, images[:, :, ::-1])]
    rows = sum(view.embedding.numpy() for view in views)
    expected = embedding_health(rows).to_dict()
    assert dict(summary.health, faces=0) == pytest.approx({"faces": 0, **expected}, rel=1e-4)


def test_a_collapsed_student_is_warned_of(tmp_path):
    network = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=8)
    torch.nn.init.zeros_(network.backbone.head.weight)
    save_model(network.eval(), tmp_path / "best.safetensors")
    faces = open_dataset("procedural:identities=4,images=2,size=16")
    with pytest.warns(UserWarning, match="the embeddings have collapsed"):
        found = run_health(tmp_path, None, faces, CPU, lambda line: None)
    assert found["mean_length"] == pytest.approx(1)
    marked = FaceNetwork.create("standin", InputSpec(size=16), landmarks=5)
    save_model(marked.eval(), tmp_path / "best.safetensors")
    assert run_health(tmp_path, None, faces, CPU, lambda line: None) is None
