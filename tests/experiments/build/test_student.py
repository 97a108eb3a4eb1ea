import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.runtime.input_spec import InputSpec
from tests.experiments.tiny_run import train


def test_a_start_of_another_colour_order_is_refused(tmp_path):
    bgr = FaceNetwork.create("standin", InputSpec(size=32, color="BGR"))
    save_model(bgr, tmp_path / "bgr.safetensors")
    start = [f"student.init={tmp_path / 'bgr.safetensors'}", "training.steps=1"]
    with pytest.raises(FacedistillError, match=r"give student\.input the same color"):
        train(tmp_path / "rgb", *start)
    assert train(tmp_path / "bgr", *start, "student.input.color=BGR").steps == 1


def test_a_student_starts_from_the_weights_it_is_given(tmp_path):
    train(tmp_path / "first")
    start = train(
        tmp_path / "second", f"student.init={tmp_path / 'first'}", "optimizer.lr=1e-12",
        "optimizer.weight_decay=0",
    )  # fmt: skip
    student, start_network = (
        load_model(p).backbone for p in (start.model, tmp_path / "first" / "best.safetensors")
    )
    torch.testing.assert_close(student.head.weight, start_network.head.weight)
    for setting in ("student.arguments={norm: false}", "student.network=mobilefacenet"):
        with pytest.raises(FacedistillError, match=r"student\.init .* is standin .* for 16 pixels"):
            train(tmp_path / "third", f"student.init={tmp_path / 'first'}", setting)


def test_a_start_with_another_head_gives_all_but_its_head(tmp_path):
    train(tmp_path / "first")
    lines = []
    start = train(
        tmp_path / "second", f"student.init={tmp_path / 'first'}", "student.embedding_size=12",
        "optimizer.lr=1e-12", "optimizer.weight_decay=0", say=lines.append,
    )  # fmt: skip
    student, start_network = (
        load_model(p).backbone for p in (start.model, tmp_path / "first" / "best.safetensors")
    )
    torch.testing.assert_close(student.features[0].weight, start_network.features[0].weight)
    assert student.head.weight.shape == (12, 32)
    (line,) = [line for line in lines if line.startswith("student.init: all but ")]
    assert line.startswith("student.init: all but head.weight, head.bias of 10 weights are")
