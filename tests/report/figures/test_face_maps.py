import cv2
import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.base import MapOfFace
from facedistill.distill.objectives.cross_architecture.pixel_features import find_pixel_features
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.face_network import FaceNetwork
from facedistill.report.figures import face_maps
from facedistill.report.figures.face_maps import plot_face_map, plot_maps
from facedistill.runtime.input_spec import InputSpec
from tests.distill.objectives.contexts import context

FACES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture
def networks():
    student = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.25).eval()
    teacher = FaceNetwork.create("iresnet18", InputSpec(size=48), embedding_size=16).eval()
    return student, teacher


@pytest.mark.parametrize("centres", [1, 16])
def test_maps_of_both_networks_come_on_their_own_grids(networks, tmp_path, centres):
    student, teacher = networks
    pixels = find_pixel_features(student), find_pixel_features(teacher)
    run = context(512, 16, pixel_features=pixels)
    objective = create_objective("urfm", run, centres=centres, width=8, heads=2, position="euclid")
    figures = objective.figures(student, teacher, torch.from_numpy(FACES))
    maps = figures.maps["receptive_fields"]
    student_maps, teacher_maps = maps.student, maps.teacher
    assert set(figures.numbers) == {"agreement", "correlation"}
    assert not figures.face_maps
    assert student_maps.shape == (5, centres, 2, 2)
    assert teacher_maps.shape == (5, centres, 3, 3)
    seen = objective.looks_at(
        student(torch.from_numpy(FACES), {"feature_map"}),
        teacher(torch.from_numpy(FACES), {"feature_map"}),
    )
    torch.testing.assert_close(seen[0].detach(), student_maps)
    plot_maps(student_maps, teacher_maps, FACES, tmp_path / "fields.png")
    assert cv2.imread(str(tmp_path / "fields.png")).std() > 10


@pytest.mark.parametrize(
    ("side", "axis"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (7, [1, 3, 5]), (8, [1, 4, 6])]
)
def test_the_centres_shown_one_by_one_are_spread(side, axis):
    assert face_maps._spread(side) == [y * side + x for y in axis for x in axis]


def test_what_centres_look_at_is_bright_in_its_place():
    heat = torch.zeros(4, 4)
    heat[0, 3] = 1.0
    gray = np.full((32, 32, 3), 128, np.uint8)
    drawn = face_maps._overlay(gray, heat).astype(int).sum(axis=2)
    assert drawn[:8, 24:].mean() > drawn[16:, :16].mean() + 100


def test_saliency_is_drawn(tmp_path):
    saliency = MapOfFace(torch.rand(7, 7) * 6, 6.0, "mean feature norm")
    plot_face_map("saliency", saliency, FACES, tmp_path / "saliency.png")
    assert cv2.imread(str(tmp_path / "saliency.png")).std() > 10
    with pytest.raises(FacedistillError, match=r"ends in \.png"):
        plot_face_map("saliency", saliency, FACES, tmp_path / "saliency.jpg")


def test_without_faces_there_is_nothing_to_draw(tmp_path):
    maps = torch.zeros(0, 4, 2, 2)
    with pytest.raises(FacedistillError, match="there are no faces"):
        plot_maps(maps, maps, FACES[:0], tmp_path / "fields.png")
