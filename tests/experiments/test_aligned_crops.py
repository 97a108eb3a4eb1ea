import cv2
import numpy as np
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.packing import pack
from facedistill.data.views.aligned_faces import AlignedFaces
from facedistill.data.views.resized import Resized
from facedistill.experiments.aligned_crops import align_faces, write_crops
from facedistill.faces.landmarks import to_pixels
from facedistill.models.backbones.base import Backbone
from facedistill.models.face_network import FaceNetwork
from facedistill.models.heads.landmark_head import LandmarkHead
from facedistill.runtime.alignment import similarity_transform, template, transform_points
from facedistill.runtime.image_file import decode_image
from facedistill.runtime.input_spec import InputSpec
from tests.data.views.coloured_spots import SIDE, Spots, find, spots
from tests.engine import standin  # noqa: F401 - registers a tiny network
from tests.evaluation.landmark_evaluation import evaluate_landmarks
from tests.experiments.spot_finder import SpotFinder


def test_a_right_first_look_is_enough_and_a_wrong_one_is_corrected():
    faces = spots()
    exact = np.stack([faces.face(i)[1] for i in range(6)])
    # The first look misses by up to six pixels, each point in its own direction.
    wrong = np.random.default_rng(0).uniform(-6, 6, (6, 5, 2))
    aligned, report = align_faces(SpotFinder(wrong), faces)
    assert report.second == report.faces == 6
    assert report.misfit < 0.5 < report.misfit_first
    np.testing.assert_allclose(aligned.landmarks, exact, atol=0.6)
    right, calm = align_faces(SpotFinder(), faces)
    np.testing.assert_allclose(right.landmarks, exact, atol=0.6)
    assert calm.misfit_first < 0.5


def test_a_second_look_that_fits_worse_is_not_kept():
    faces = spots()
    exact = np.stack([faces.face(i)[1] for i in range(6)])
    wrong = np.random.default_rng(0).uniform(-6, 6, (6, 5, 2))
    # The first look is right; the second errs a little, so that its warp fits worse.
    aligned, report = align_faces(SpotFinder(0.0, wrong, -wrong), faces)
    assert report.second == 0
    np.testing.assert_allclose(aligned.landmarks, exact, atol=0.6)


def test_a_second_look_that_finds_nothing_leaves_the_first():
    class Dazzled(SpotFinder):
        """Finds all points of the second face in one place once it is aligned."""

        looks = 0

        def locate(self, images):
            found = super().locate(images)
            self.looks += 1
            if self.looks == 2:
                found[1] = 0.5
            return found

    faces = spots(3)
    aligned, report = align_faces(
        Dazzled(np.random.default_rng(0).uniform(-6, 6, (3, 5, 2))), faces
    )
    exact = np.stack([faces.face(i)[1] for i in range(3)])
    np.testing.assert_allclose(aligned.landmarks[[0, 2]], exact[[0, 2]], atol=0.6)
    assert np.abs(aligned.landmarks[1] - exact[1]).max() <= 6.6
    assert report.second == 2
    assert np.isfinite(report.misfit)


def test_crops_miss_the_template_by_no_more_than_the_errors_of_the_points():
    faces = spots(24)
    rng = np.random.default_rng(1)
    noise = lambda: rng.normal(0, 1.0, (24, 5, 2))  # noqa: E731
    aligned, _ = align_faces(SpotFinder(noise(), noise(), noise()), faces)
    misses = [
        transform_points(template(), similarity_transform(find(aligned.crop(i)), template()))
        - template()
        for i in range(24)
    ]
    # A similarity has 4 degrees of freedom: of 10 coordinates' variance it keeps 4 tenths.
    error = np.sqrt((np.array(misses) ** 2).sum(axis=2).mean())
    assert error < 1.5 * np.sqrt(2 * 0.4)


class Flat(Backbone):
    """A perceptron on the pixels: learns where spots are within a second."""

    feature_channels = 3

    def __init__(self, embedding_size, input_size):
        super().__init__()
        self.embedding_size = embedding_size
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * input_size**2, 128), nn.PReLU(), nn.Linear(128, 64)
        )

    def forward_features(self, x):
        return x

    def forward_head(self, features):
        return self.layers(features)


def learned(faces, side=16, steps=250):
    """A landmark network that has learned from a data set."""
    torch.manual_seed(0)
    network = FaceNetwork(
        Flat(64, side), architecture="flat", arguments={}, input=InputSpec(size=side),
        landmark_head=LandmarkHead(64, 5),
    )  # fmt: skip
    samples = [Resized(faces, side)[i] for i in range(len(faces))]
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    wanted = torch.from_numpy(np.stack([sample.landmarks for sample in samples]))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(images, ("landmarks",)).landmarks - wanted).square().sum().backward()
        optimizer.step()
    return network


def test_a_trained_network_puts_the_landmarks_on_the_template():
    network = learned(Spots(320, 1, size=SIDE, difficulty=0.0, loose=1.0))
    faces = Spots(20, 1, size=SIDE, difficulty=0.0, loose=1.0, first_identity=900)
    nme = evaluate_landmarks(network, faces, resamples=0).nme.value
    assert nme < 0.2
    aligned, _ = align_faces(network, faces)
    goal = template()
    eyes = np.linalg.norm(goal[0] - goal[1])
    misses, shapes, loose = [], [], []
    for index, found in enumerate(aligned.landmarks):
        truth = faces.face(index)[1]
        best, used = similarity_transform(truth, goal), similarity_transform(found, goal)
        shape = np.linalg.norm(transform_points(truth, best) - goal)
        miss = np.linalg.norm(find(aligned.crop(index)) - goal, axis=1)
        # Of all similarities the one used fits the points found best, so that the true ones cannot
        # lie further off than their shape and what was missed by, at the scales of both warps.
        scales = np.hypot(*best[:, 0]) + np.hypot(*used[:, 0])
        pixels = 0.6 * np.sqrt(5)
        assert np.linalg.norm(miss) <= shape + scales * np.linalg.norm(found - truth) + pixels
        misses.append(miss.mean() / eyes)
        shapes.append(shape / np.sqrt(5) / eyes)
        loose.append(np.linalg.norm(truth - goal, axis=1).mean() / eyes)
    assert np.mean(misses) < np.mean(shapes) + 1.5 * nme
    assert np.mean(misses) < np.mean(loose)


def test_crops_of_any_shape_are_looked_at_whole():
    faces = spots(3)
    wide = [
        cv2.copyMakeBorder(faces.face(i)[0], 0, 0, 20, 60, cv2.BORDER_CONSTANT) for i in range(3)
    ]

    class Wide(Spots):
        def __getitem__(self, index):
            return super().__getitem__(index)._replace(image=wide[index])

    aligned, _ = align_faces(SpotFinder(), Wide(3, 1, size=SIDE, difficulty=0.0, loose=1.0))
    exact = np.stack([faces.face(i)[1] + (20, 0) for i in range(3)])
    np.testing.assert_allclose(aligned.landmarks, exact, atol=0.7)


def test_files_are_the_crops(tmp_path):
    faces = spots(3)
    aligned, _ = align_faces(SpotFinder(), faces, 96)
    written = write_crops(aligned, tmp_path / "out")
    assert written["images"] == 3
    for index in range(3):
        content = (tmp_path / "out" / f"{index:06d}" / f"{index:06d}.jpg").read_bytes()
        assert content == aligned.encoded(index)
        assert decode_image(content, "x").shape == (96, 96, 3)
    with pytest.raises(FacedistillError, match="is not empty"):
        write_crops(aligned, tmp_path / "out")
    pack(aligned, tmp_path / "packed")
    records = RecordIODataset(tmp_path / "packed")
    assert [records.encoded(i) for i in range(3)] == [aligned.encoded(i) for i in range(3)]


def test_what_cannot_be_aligned_is_named():
    class Blind(SpotFinder):
        def locate(self, images):
            return torch.full((len(images), 5, 2), 0.5)

    with pytest.raises(
        FacedistillError, match=r"identity 0 image 0 .*no face can be aligned there"
    ):
        align_faces(Blind(), spots(2))

    class Strip(Spots):
        def __getitem__(self, index):
            return super().__getitem__(index)._replace(image=np.zeros((1, 9000, 3), np.uint8))

    with pytest.raises(FacedistillError, match=r"identity 0 image 0 .*9000 x 1 pixels has more"):
        align_faces(SpotFinder(), Strip(2, 1, size=SIDE))
    recogniser = FaceNetwork.create("standin", InputSpec(size=16))
    with pytest.raises(FacedistillError, match="finds no landmarks"):
        align_faces(recogniser, spots(2))


def test_points_found_in_the_source_are_pixels_of_it():
    faces = spots(2)
    aligned, _ = align_faces(SpotFinder(), faces)
    for index in range(2):
        sample = faces[index]
        exact = to_pixels(sample.landmarks, sample.image.shape)
        np.testing.assert_allclose(aligned.landmarks[index], exact, atol=0.6)


def crops(count, size=SIDE):
    faces = spots(count)
    landmarks = np.stack([faces.face(i)[1] for i in range(count)])
    return AlignedFaces(faces, landmarks, size)


def test_a_smaller_set_replaces_a_larger_one_whole(tmp_path):
    out = tmp_path / "out"
    write_crops(crops(3), out)
    write_crops(crops(2, 48), out, overwrite=True)
    files = sorted(out.rglob("*.jpg"))
    assert len(files) == 2
    assert {decode_image(path.read_bytes(), "x").shape for path in files} == {(48, 48, 3)}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_set_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    out = tmp_path / "out"
    write_crops(crops(1), out)
    broken = crops(2)
    encoded = broken.encoded
    monkeypatch.setattr(broken, "encoded", lambda index: encoded(index) if index == 0 else 1 // 0)
    with pytest.raises(ZeroDivisionError):
        write_crops(broken, out, overwrite=True)
    assert len(list(out.rglob("*.jpg"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_no_set_of_crops_is_not_overwritten(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"kept")
    with pytest.raises(FacedistillError, match="was not written by `facedistill prepare` with"):
        write_crops(crops(1), tmp_path, overwrite=True)
    assert (tmp_path / "photo.jpg").read_bytes() == b"kept"


def test_a_wrong_quality_is_refused_before_any_face_is_looked_at():
    finder = SpotFinder()
    finder.locate = lambda images: 1 // 0
    with pytest.raises(FacedistillError, match="quality 101: JPEG quality is 1 to 100"):
        align_faces(finder, spots(2), quality=101)
