import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.build.teacher import open_teacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.recipe.schema import TeacherRecipe
from facedistill.runtime.input_spec import InputSpec
from tests.experiments.tiny_run import make_bank, train
from tests.models.onnx.graphs import SIDE, linear


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_online_teacher_answers_in_the_precision_of_the_run(tmp_path, monkeypatch, precision):
    network = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=12)
    save_model(network, tmp_path / "teacher.safetensors")
    seen = set()
    ask = NetworkTeacher.__call__

    def asked(self, batch, needs):
        seen.add(torch.is_autocast_enabled("cpu"))
        return ask(self, batch, needs)

    monkeypatch.setattr(NetworkTeacher, "__call__", asked)
    train(
        tmp_path / "run",
        f"teacher.model={tmp_path / 'teacher.safetensors'}",
        "teacher.licence=unknown",
        "objectives.fcd={}",
        f"training.precision={precision}",
    )
    assert seen == {precision == "bf16"}


def test_the_output_that_a_recipe_names_teaches(tmp_path):
    path = linear(tmp_path / "two.onnx", {"one": 64, "two": 64})
    recipe = {"model": str(path), "licence": "unknown", "input": {"std": [255] * 3}}
    faces = open_dataset("procedural:identities=2,images=2,size=16")
    with pytest.raises(FacedistillError, match=r"teacher\.model: .*teacher\.output in a recipe"):
        open_teacher(TeacherRecipe(**recipe), faces)
    with pytest.warns(UserWarning, match="assuming RGB"):
        teacher = open_teacher(TeacherRecipe(**recipe, output="two"), faces)
    assert (teacher.network.output, teacher.network.input.size) == ("two", SIDE)
    assert teacher.network.input.std == (255, 255, 255)


def test_an_output_is_one_of_a_model():
    with pytest.raises(ValueError, match="output is that of model"):
        TeacherRecipe(bank="bank", output="two", licence="unknown")


def test_a_teacher_without_objective_is_refused(tmp_path):
    make_bank(tmp_path / "bank", "procedural:identities=8,images=4,size=16")
    with pytest.raises(FacedistillError, match="no objective learns from bank"):
        train(tmp_path / "run", f"teacher.bank={tmp_path / 'bank'}")


def test_a_bank_and_an_online_teacher_teach_the_same(tmp_path):
    data = "procedural:identities=8,images=4,size=16"
    save_model(make_bank(tmp_path / "bank", data), tmp_path / "teacher.safetensors")
    lesson = ["objectives.margin_softmax=null", "objectives.fcd={}", "training.steps=3"]
    for view in ("same", "clean"):
        for source in ("bank", "model"):
            place = tmp_path / ("bank" if source == "bank" else "teacher.safetensors")
            folder = tmp_path / f"{view}-{source}"
            train(folder, f"teacher.{source}={place}", f"teacher.view={view}", *lesson)
        bank, model = (
            [r["loss"] for r in read_metrics(tmp_path / f"{view}-{s}" / "metrics.jsonl")]
            for s in ("bank", "model")
        )
        assert bank == pytest.approx(model, abs=1e-3)  # the bank's float16
    for more in ("rotation=5", "mask=0.5"):
        settings = [f"teacher.bank={tmp_path / 'bank'}", f"data.augmentation.{more}", *lesson]
        with pytest.raises(FacedistillError, match="knows plain and flipped images only"):
            train(tmp_path / "x", *settings)


def test_a_clean_view_teaches_masked_faces_from_a_bank_as_online(tmp_path):
    data = "procedural:identities=8,images=4,size=16"
    save_model(make_bank(tmp_path / "bank", data), tmp_path / "teacher.safetensors")
    lesson = ["objectives.margin_softmax=null", "objectives.fcd={}", "training.steps=3"]
    losses = {}
    for source, place in (("bank", "bank"), ("model", "teacher.safetensors")):
        for mask in (0.0, 0.5):
            folder = tmp_path / f"{source}-{mask}"
            settings = [f"teacher.{source}={tmp_path / place}", f"data.augmentation.mask={mask}"]
            train(folder, *settings, "teacher.view=clean", *lesson)
            losses[source, mask] = [r["loss"] for r in read_metrics(folder / "metrics.jsonl")]
    assert losses["bank", 0.5] == pytest.approx(losses["model", 0.5], abs=1e-3)
    assert losses["bank", 0.5] != pytest.approx(losses["bank", 0.0], abs=1e-3)


def test_an_online_teacher_is_not_shown_shrunken_faces(tmp_path):
    data = "procedural:identities=8,images=4,size=32"
    teacher = FaceNetwork.create("standin", InputSpec(size=32), embedding_size=12)
    save_model(teacher, tmp_path / "teacher.safetensors")
    settings = [
        f"data.train={data}", f"teacher.model={tmp_path / 'teacher.safetensors'}",
        "objectives.margin_softmax=null", "objectives.fcd={}", "training.steps=1",
    ]  # fmt: skip
    with pytest.raises(FacedistillError, match=r"leave data\.image_size out"):
        train(tmp_path / "small", *settings, "data.image_size=16")
    assert train(tmp_path / "whole", *settings, "data.image_size=32").steps == 1
