import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.sample import Sample
from facedistill.experiments.teacher_feeding import (
    check_teacher,
    flags,
    mated_images,
    separations,
    standard_errors,
)
from facedistill.models.backbones.base import Backbone
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.open_network import carries_input
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import InputSpec

SIDE = 8
RIGHT = InputSpec(size=SIDE)


class RedFaces(FaceDataset):
    """Identities differ in the red channel; the others are noise of each image's own."""

    name = "red faces"

    def __init__(self, identities=40, images=3, alike=False):
        self.labels = np.repeat(np.arange(identities), images)
        self.alike = alike

    def image(self, index):
        own = np.random.default_rng(0 if self.alike else index)
        image = own.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        red = np.random.default_rng([7, 0 if self.alike else int(self.labels[index])])
        image[:, :, 0] = red.integers(60, 196, (SIDE, SIDE)) + own.integers(-40, 41, (SIDE, SIDE))
        return image

    def __getitem__(self, index):
        return Sample(self.image(index), int(self.labels[index]), b"k" * 16, str(index))

    def encoded(self, index):
        raise NotImplementedError

    def where(self, index):
        return f"image {index}"


class FirstChannel(Backbone):
    """Sees the first channel, and of it what lies within -1 to 1."""

    embedding_size, feature_channels = SIDE**2, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward_features(self, images):
        return images[:, :1].clamp(-1, 1)

    def forward_head(self, features):
        return self.weight * features.flatten(1)


def network(spec):
    return FaceNetwork(FirstChannel(), architecture="by hand", arguments={}, input=spec)


def warned(spec, faces=None, **options):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        check_teacher(network(spec), faces or RedFaces(200), **{"fixed": False, **options})
    return [str(each.message) for each in seen]


def test_a_teacher_that_is_fed_rightly_is_passed():
    assert warned(RIGHT) == []


def test_another_colour_order_that_separates_better_is_named():
    (line,) = warned(InputSpec(size=SIDE, color="BGR"))
    assert "separates 150 faces of red faces better" in line
    assert line.endswith("state its input, --color RGB --mean 127.5 --std 127.5")


def test_another_scale_that_separates_better_is_named_whatever_the_colour():
    (line,) = warned(InputSpec(size=SIDE, color="BGR", mean=(0, 0, 0), std=(40, 40, 40)))
    assert line.endswith("--color RGB --mean 127.5 --std 127.5")


def test_what_a_file_states_is_not_doubted():
    assert warned(InputSpec(size=SIDE, color="BGR"), fixed=True) == []


@pytest.mark.parametrize("faces", [RedFaces(19), RedFaces(100, images=1)])
def test_too_few_identities_are_said_to_be_too_few(faces):
    assert warned(InputSpec(size=SIDE, color="BGR"), faces) == []
    said = check_teacher(network(RIGHT), faces, fixed=False)
    assert said.endswith("fewer than 20 identities have two images")
    assert check_teacher(network(RIGHT), faces, fixed=True) is None


class DamagedFaces(RedFaces):
    """One image in ten does not decode, one in ten is of another size."""

    def __getitem__(self, index):
        if index % 10 == 3:
            raise FacedistillError("damaged")
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image[:5]) if index % 10 == 7 else sample


def test_damaged_images_do_not_keep_others_from_being_tried():
    (line,) = warned(InputSpec(size=SIDE, color="BGR"), DamagedFaces(200))
    assert line.endswith("--color RGB --mean 127.5 --std 127.5")


def test_images_that_are_not_square_are_said_to_be_untried():
    class Wide(RedFaces):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample._replace(image=sample.image[:5])

    assert "not tried" in check_teacher(network(RIGHT), Wide(40), fixed=False)


def test_a_teacher_that_gives_nan_is_refused_at_once():
    broken = network(RIGHT)
    broken.backbone.weight.data.fill_(torch.nan)
    with pytest.raises(FacedistillError, match="by hand gives an embedding that is NaN"):
        check_teacher(broken, RedFaces(40), fixed=True)


def onnx_teacher(path):
    """Write what `FirstChannel` does as an ONNX file."""
    helper = onnx.helper
    ends = {"begin": [0], "end": [1], "axis": [1]}
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["faces", *ends], ["first"]),
            helper.make_node("Clip", ["first", "low", "high"], ["clipped"]),
            helper.make_node("Flatten", ["clipped"], ["embedding"]),
        ],
        "first channel",
        [helper.make_tensor_value_info("faces", onnx.TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", SIDE**2])],
        [
            *(onnx.numpy_helper.from_array(np.array(v, np.int64), k) for k, v in ends.items()),
            onnx.numpy_helper.from_array(np.float32(-1), "low"),
            onnx.numpy_helper.from_array(np.float32(1), "high"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_an_onnx_file_is_tried_too(tmp_path, color):
    path = onnx_teacher(tmp_path / "teacher.onnx")
    teacher = OnnxNetwork(path, input=InputSpec(size=SIDE, color=color), threads=1)
    assert not carries_input(path, teacher)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        check_teacher(teacher, RedFaces(200), fixed=False)
    flagged = ["--color RGB --mean 127.5 --std 127.5" in str(each.message) for each in seen]
    assert flagged == ([] if color == "RGB" else [True])
    assert teacher.input.color == color


@pytest.mark.parametrize("images", [1, 3])
def test_one_embedding_for_all_faces_is_refused(images):
    with pytest.raises(FacedistillError, match=r"by hand gives \d+ faces nearly one embedding"):
        check_teacher(network(RIGHT), RedFaces(40, images, alike=True), fixed=True)


def test_a_saturated_teacher_is_refused_with_the_flags():
    raw = InputSpec(size=SIDE, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(FacedistillError, match=r"one embedding .*: state its input, --color RGB"):
        check_teacher(network(raw), RedFaces(200), fixed=False)


def test_the_network_is_fed_as_before_when_the_check_is_over():
    own = network(InputSpec(size=SIDE, color="BGR"))
    before = own.preprocess
    with pytest.warns(UserWarning, match="fed otherwise"):
        check_teacher(own, RedFaces(200), fixed=False)
    assert own.preprocess is before


def test_mates_are_two_images_of_one_identity_once_each():
    labels = np.array([3, 1, -1, 3, 2, 1, 3, -1, 0])
    mates = mated_images(labels, 10)
    assert sorted(labels[mates].tolist()) == [[1, 1], [3, 3]]
    assert (mates[:, 0] != mates[:, 1]).all()
    assert len(mated_images(labels, 1)) == 1
    assert mated_images(np.full(4, -1), 10).shape == (0, 2)


def test_separations_are_those_of_a_loop():
    embeddings = np.random.default_rng(1).normal(size=(12, 5))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for identity, found in enumerate(separations(embeddings)):
        own = (2 * identity, 2 * identity + 1)
        others = [
            float(unit[one] @ unit[two]) for one in own for two in range(12) if two not in own
        ]
        expected = (unit[own[0]] @ unit[own[1]] - np.mean(others)) / np.std(others)
        assert found == pytest.approx(expected)


def test_standard_errors_are_those_of_the_t_statistic():
    values = np.array([1.0, 2.0, 4.0])
    assert standard_errors(values) == pytest.approx(values.mean() / (values.std(ddof=1) / 3**0.5))
    assert standard_errors(np.zeros(3)) == 0


def test_flags_name_three_numbers_where_channels_differ():
    spec = InputSpec(color="BGR", mean=(103.53, 116.28, 123.675), std=(58, 58, 58))
    assert flags(spec) == "--color BGR --mean 103.53,116.28,123.675 --std 58"
