import numpy as np
import pytest

from facedistill.evaluation.protocols.fairness import fairness
from facedistill.evaluation.protocols.pair_scores import report_scores
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.report.documents.model_card import CARD, model_card, write_card
from facedistill.runtime.input_spec import InputSpec


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    same = np.arange(200) % 2 == 0
    scores = np.clip(0.3 * same + 0.2 * rng.normal(size=200), -1, 1)
    return report_scores("lfw", scores, same, resamples=50).to_dict()


def network(**about):
    made = FaceNetwork.create("mobilefacenet", InputSpec(size=32), embedding_size=16, width=0.25)
    made.metadata = ModelMetadata(**about)
    return made


def section(card, title):
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_a_card_has_the_origin_of_the_network_and_its_figures(report):
    student = network(
        teacher="big", teacher_licence="MIT", data_licence="CC-BY", recipe_hash="abc",
        training_data="faces: 9 images",
        thresholds={"1e-2": 0.3125}, metrics={"validation.accuracy": 0.875},
    )  # fmt: skip
    card = model_card(student, recipe="name: fcd\n", reports={"lfw": report})
    assert "big. Licence of its weights: MIT." in section(card, "Teacher")
    assert "`faces: 9 images`. Licence: CC-BY." in section(card, "Training data")
    accuracy = report["verification"]["insightface"]
    assert f"{100 * accuracy['accuracy']:.2f}" in section(card, "Figures")
    assert f"{100 * accuracy['interval']['low']:.2f}" in section(card, "Figures")
    assert "100 genuine, 100 impostor pairs" in section(card, "Figures")
    assert "validation.accuracy 0.8750" in section(card, "Figures")
    assert "| validation identities | 0.3125 |" in section(card, "Thresholds")
    assert "0.25" in section(card, "Network")
    assert "```yaml\nname: fcd\n```" in section(card, "Recipe")
    assert "Not measured" in section(card, "Fairness")
    assert "UNKNOWN" not in card


def test_unknown_licences_and_missing_figures_are_marked(report):
    card = model_card(network(teacher="big"), recipe="", reports={})
    assert "Licence of its weights: 🔴 **UNKNOWN**" in section(card, "Teacher")
    assert "Licence: 🔴 **UNKNOWN**" in section(card, "Training data")
    assert "Nothing was measured" in section(card, "Figures")
    both = network(teacher="big and small", teacher_licence="MIT and unknown")
    card = model_card(both, recipe="", reports={})
    assert "Licence of its weights: MIT and 🔴 **UNKNOWN**" in section(card, "Teacher")
    assert "learned from labels alone" in model_card(network(), recipe="", reports={})


def test_figures_are_linked_where_there_are_some():
    about = {"recipe": "", "reports": {}}
    assert "Plots" not in model_card(network(), **about)
    card = model_card(network(), **about, figure_files={"where it looks": "fields.png"})
    assert section(card, "Plots").strip() == "![where it looks](fields.png)"


def test_fairness_is_stated_where_it_was_measured(report, tmp_path):
    rng = np.random.default_rng(1)
    same = np.arange(4000) % 2 == 0
    sides = rng.integers(0, 2, 4000)
    scores = np.clip((0.3 + 0.1 * sides) * same + 0.2 * rng.normal(size=4000), -1, 1)
    groups = np.stack([sides, sides], axis=1)
    ages = fairness(scores, same, groups, ["old", "young"], attribute="age", resamples=50)
    reports = {"lfw": {**report, "fairness": [ages.to_dict()]}}
    path = write_card(tmp_path, network(), recipe="", reports=reports)
    assert path == tmp_path / CARD
    text = path.read_text()
    assert f"On lfw, by age. One threshold for all, cosine {ages.threshold:.4f}" in text
    for group in ages.groups:
        assert f"| {group.group} | {100 * group.fmr.value:.3f} " in text
        assert f" | {100 * group.fnmr.value:.3f} " in text
    assert f"FNMR of old is {ages.fnmr.worst_to_best.value:.2f} " in text
