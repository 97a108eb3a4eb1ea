"""Runs whose teacher is a Transformer, with prompts that train beside the student."""

import copy
from contextlib import nullcontext

import cv2
import pytest
import torch

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.signals import StopRequest
from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.distill.teachers.prompted import TrainableTeacher, load_prompts
from facedistill.engine import loop
from facedistill.engine.loop import Fit
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments import run as run_module
from facedistill.experiments.build.teacher import open_teacher
from facedistill.experiments.run import run
from facedistill.experiments.run_figures import RunFigures, write_figures
from facedistill.export.export import export_network
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run
from tests.experiments.whole_runs.two_processes import launch, without_shares

DATA = "procedural:identities=12,images=4,size=32"
URFM = "objectives.urfm={centres: 4, width: 16, heads: 2}"


@pytest.fixture
def recipe(swin):
    def make(*settings):
        return tiny_recipe(
            f"data.train={DATA}",
            "data.validation_identities=4",
            "data.validation_pairs=20",
            "student.arguments={norm: false}",
            f"teacher.model={swin}",
            "teacher.prompts={count: 2}",
            URFM,
            "objectives.prompt_preservation={}",
            "optimizer={name: adamw, lr: 0.01}",
            "training.steps=3",
            "training.accumulate=2",
            "training.ema=0.5",
            *settings,
        )

    return make


def silent(line):
    pass


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr(run_module, "write_figures", lambda *anything: RunFigures())


@pytest.mark.parametrize("stop", [1, 2])
def test_a_run_cut_off_goes_on_to_the_same_end(tmp_path, monkeypatch, recipe, stop):
    request, train = StopRequest(), Fit._train

    def train_and_ask(fit, batch):
        train(fit, batch)
        request.received = fit.position.step == stop

    run(recipe(), tmp_path / "whole", silent)
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_train", train_and_ask)
        patch.setattr(loop, "stop_request", lambda: nullcontext(request))
        with pytest.raises(Interrupted):
            run(recipe(), tmp_path / "cut", silent)
    assert not (tmp_path / "cut" / "prompts.safetensors").exists()
    run(recipe(), tmp_path / "cut", silent)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    prompts = [(tmp_path / name / "prompts.safetensors").read_bytes() for name in ("cut", "whole")]
    assert prompts[0] == prompts[1]


@pytest.mark.parametrize("settings", [(), ("teacher.precision=bf16",)])
def test_prompts_alone_train_in_the_teacher(tmp_path, monkeypatch, recipe, swin, settings):
    fits, start = [], Fit.run

    def remember(fit):
        fits.append((fit, copy.deepcopy(fit.bare_step.teacher.state_dict())))
        return start(fit)

    monkeypatch.setattr(Fit, "run", remember)
    run(recipe(*settings), tmp_path / "run", silent)
    ((fit, before),) = fits
    teacher, network = fit.bare_step.teacher, load_model(swin)
    for name, weight in teacher.network.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name]), name
    assert not any(weight.requires_grad for weight in teacher.network.parameters())
    assert not any(module.training for module in teacher.network.modules())
    after = teacher.state_dict()
    assert len(after) == len(teacher.prompts) > 0
    assert not any(torch.equal(after[name], before[name]) for name in after)

    loaded = load_prompts(network, tmp_path / "run" / "prompts.safetensors")
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    kept = [name for name in state["weights"] if name.startswith("teacher.")]
    assert kept == [f"teacher.{name}" for name in loaded.state_dict()]
    for name, prompt in loaded.state_dict().items():
        assert torch.equal(prompt, state["weights"][f"teacher.{name}"])
    average = {name.removeprefix("module.") for name in state["average"]} - {"n_averaged"}
    assert average == set(fit.bare_step.student.state_dict())


def test_the_student_leaves_everything_else_behind(tmp_path, recipe):
    run(recipe(), tmp_path / "run", silent)
    student = load_model(tmp_path / "run" / "best.safetensors")
    fresh = FaceNetwork.create("standin", InputSpec(size=16), norm=False)
    assert student.state_dict().keys() == fresh.state_dict().keys()
    exported = export_network(student, tmp_path / "student.onnx")
    weights = sum(w.numel() for w in student.backbone.parameters())
    assert exported.bytes < 4 * weights + 20_000  # the teacher alone has 4 MB


def test_prompts_have_a_learning_rate_of_their_own(tmp_path, recipe):
    def moved(name, factor):
        one = recipe(f"teacher.prompts={{count: 2, lr: {factor}}}")
        run(one, tmp_path / name, silent)
        start = open_teacher(one.teacher, None, one.seed).module.state_dict()
        state = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        groups = state["optimizer"]["param_groups"]
        assert [group.get("lr_factor", 1) for group in groups] == [1, 1, factor]
        assert groups[-1]["lr"] == pytest.approx(factor * groups[0]["lr"])
        assert groups[-1]["weight_decay"] == 0
        return max((state["weights"][f"teacher.{n}"] - w).abs().max() for n, w in start.items())

    assert moved("slow", 1e-4) < 1e-3 * moved("fast", 1.0)


def test_the_student_starts_alike_with_and_without_prompts(tmp_path, recipe, monkeypatch):
    starts = []
    monkeypatch.setattr(
        Fit, "run", lambda fit: starts.append(copy.deepcopy(fit.bare_step)) or fit.position
    )
    monkeypatch.setattr(run_module.Run, "measure", lambda run: {})
    monkeypatch.setattr(run_module, "write_run_card", lambda *anything: None)
    monkeypatch.setattr(run_module, "run_health", lambda *anything: None)
    monkeypatch.setattr(run_module.Run, "_say_outcome", lambda *anything: None)
    run(recipe(), tmp_path / "with", silent)
    without = ("teacher.prompts=null", "objectives.prompt_preservation=null")
    run(recipe(*without), tmp_path / "without", silent)
    assert starts[0].teacher is not None
    assert starts[1].teacher is None
    for part in ("student", "objectives"):
        one, other = (getattr(step, part).state_dict() for step in starts)
        for name, weight in other.items():
            assert torch.equal(weight, one[name]), name


def test_two_processes_train_what_one_trains(tmp_path, recipe):
    # Micro-batches would be of other images: each process divides its own share.
    # Plain descent moves by the gradient's own size, which Adam's steps hardly show.
    descent = "optimizer={name: sgd, lr: 0.01, momentum: 0.0, nesterov: false, weight_decay: 0}"
    one = recipe("training.accumulate=1", "training.clip=null", descent)
    run(one, tmp_path / "one", silent)
    path = tmp_path / "recipe.yaml"
    path.write_text(one.to_yaml())
    for code, _, err, seen in launch(0, ["distill", str(path), "--out", str(tmp_path / "two")]):
        assert code == 0, err
        assert seen["ddp"]
    start = open_teacher(one.teacher, None, one.seed).module.state_dict()
    two, alone = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("two", "one"))
    for first, second in zip(map(without_shares, two), map(without_shares, alone), strict=True):
        assert first == pytest.approx(second, rel=1e-2, abs=1e-3)
    states = [torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("two", "one")]
    for name, before in start.items():
        two, alone = (state["weights"][f"teacher.{name}"] - before for state in states)
        assert (two - alone).norm() < 0.02 * alone.norm()
        assert alone.norm() > 0


def test_two_processes_train_a_student_whose_head_has_no_objective(tmp_path, recipe):
    plain = ("teacher.prompts=null", "objectives.prompt_preservation=null")
    hints = ("objectives.fitnet={}", "objectives.urfm=null", "objectives.margin_softmax=null")
    one = recipe(*plain, *hints)
    with pytest.warns(UserWarning, match="no objective trains the student's last layer"):
        run(one, tmp_path / "alone", silent)
    path = tmp_path / "recipe.yaml"
    path.write_text(one.to_yaml())
    for code, _, err, seen in launch(0, ["distill", str(path), "--out", str(tmp_path / "run")]):
        assert code == 0, err
        assert seen["ddp"]


def test_processes_left_with_unequal_batches_still_meet(tmp_path, recipe):
    faces = open_dataset(DATA)
    for index in range(len(faces)):
        identity = tmp_path / "faces" / str(faces.labels[index])
        identity.mkdir(parents=True, exist_ok=True)
        (identity / f"{index}.png").write_bytes(faces.encoded(index) if index else b"no image")
    frozen = ("teacher.prompts=null", "objectives.prompt_preservation=null")
    # Two micro-batches of two images on each process; three images would be one of three.
    uneven = recipe(
        *frozen, f"data.train={tmp_path / 'faces'}", "data.on_error=skip", "data.cache=none",
        "data.validation_identities=0", "objectives.urfm.position=euclid", "training.batch_size=8",
        "training.steps=null", "training.epochs=1",
    )  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(uneven.to_yaml())
    main, other = launch(0, ["distill", str(path), "--out", str(tmp_path / "run")])
    assert main[0] == other[0] == 0, main[2] + other[2]
    assert "left out 1 corrupt images" in main[1]


def test_a_gradient_of_prompts_that_is_not_a_number_stops_the_run(tmp_path, recipe, monkeypatch):
    opened = open_teacher

    def poisoned(*arguments):
        teacher = opened(*arguments)
        teacher.module.prompts[0].register_hook(lambda gradient: gradient * float("nan"))
        return teacher

    monkeypatch.setattr(run_module, "open_teacher", poisoned)
    with pytest.raises(FacedistillError, match=r"gradient of the sum of .*urfm.* is not finite"):
        run(recipe(), tmp_path / "run", silent)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_the_clean_view_is_what_a_prompted_teacher_sees(tmp_path, recipe, monkeypatch):
    seen, ask = [], TrainableTeacher.__call__

    def look(teacher, batch, needs):
        seen.append(torch.equal(teacher._seen(batch), batch.clean))
        return ask(teacher, batch, needs)

    monkeypatch.setattr(TrainableTeacher, "__call__", look)
    settings = ("teacher.view=clean", "data.augmentation={rotation: 20}", "training.steps=1")
    run(recipe(*settings), tmp_path / "run", silent)
    assert seen == [True, True]


def test_a_frozen_teacher_is_asked_without_gradient(tmp_path, recipe, monkeypatch):
    seen, forward = [], FaceNetwork.forward

    def look(network, images, needs=("embedding",)):
        outputs = forward(network, images, needs)
        if "tokens" in needs:
            seen.append(outputs.tokens.requires_grad)
        return outputs

    monkeypatch.setattr(FaceNetwork, "forward", look)
    plain = ("teacher.prompts=null", "objectives.prompt_preservation=null", "training.steps=1")
    run(recipe(*plain), tmp_path / "run", silent)
    assert seen
    assert not any(seen)
    assert not (tmp_path / "run" / "prompts.safetensors").exists()


def test_figures_are_left_in_the_folder(tmp_path, recipe, monkeypatch):
    lines, students, folder = [], [], tmp_path / "run"

    def remember(folder, step, student, *others):
        students.append(copy.deepcopy(student))
        assert not torch.equal(step.student.backbone.head.weight, student.backbone.head.weight)
        (folder / "saliency.png").write_bytes(b"of the user")
        with pytest.warns(UserWarning, match=r"saliency\.png is there already"):
            return write_figures(folder, step, student, *others)

    monkeypatch.setattr(run_module, "write_figures", remember)
    summary = run(recipe("training.steps=2"), folder, lines.append)
    assert (folder / "saliency.png").read_bytes() == b"of the user"
    for name in ("receptive_fields.png", "saliency-2.png"):
        assert cv2.imread(str(folder / name)) is not None
        assert any(line.endswith(name) for line in lines)
        assert f"]({name})" in (folder / "MODEL_CARD.md").read_text()
    # What is drawn is what is shipped: the averaged weights.
    shipped = load_model(folder / "last.safetensors").state_dict()
    assert all(torch.equal(w, shipped[k]) for k, w in students[0].state_dict().items())
    assert set(summary.figure_numbers) == {"agreement", "correlation"}
    assert 0 < summary.figure_numbers["agreement"] <= 1
    read = run(recipe("training.steps=2"), folder, silent)
    assert read.figure_numbers == summary.figure_numbers
    last = read_metrics(folder / "metrics.jsonl")[-2]
    assert 0 < last["urfm.agreement"] <= 1


def test_hints_and_a_cnn_teacher(tmp_path, recipe):
    torch.manual_seed(7)
    cnn = tmp_path / "cnn.safetensors"
    save_model(
        FaceNetwork.create("mobilefacenet", InputSpec(size=48), embedding_size=12, width=0.25), cnn
    )
    plain = ("teacher.prompts=null", "objectives.prompt_preservation=null")
    settings = (f"teacher.model={cnn}", "objectives.fitnet={}", *plain)
    run(recipe(*settings), tmp_path / "run", silent)
    (last,) = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if r["step"] == 3][:1]
    assert last["fitnet"] > 0
    assert last["urfm"] > 0
    with pytest.raises(FacedistillError, match="is a mobilefacenet and cannot be prompted"):
        run(recipe(f"teacher.model={cnn}"), tmp_path / "other", silent)


def test_a_run_does_not_go_on_with_another_teacher_in_its_teachers_place(
    tmp_path, recipe, swin, monkeypatch
):
    def stop(fit, batch):
        if fit.position.step == 2:
            raise Interrupted("enough")

    train, copy_of_swin = Fit._train, tmp_path / "swin.safetensors"
    copy_of_swin.write_bytes(swin.read_bytes())
    often = (f"teacher.model={copy_of_swin}", "training.checkpoint_minutes=1e-9")
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_train", lambda fit, batch: (stop(fit, batch), train(fit, batch)))
        with pytest.raises(Interrupted):
            run(recipe(*often), tmp_path / "run", silent)
    network = load_model(swin)
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    save_model(network, copy_of_swin)
    with pytest.raises(FacedistillError, match=r"checkpoint\.pt is of a run with another teacher"):
        run(recipe(*often), tmp_path / "run", silent)
    copy_of_swin.write_bytes(swin.read_bytes())
    run(recipe(*often), tmp_path / "run", silent)


def test_what_cannot_be_prompted_or_compared_is_refused(tmp_path, recipe, swin):
    network = load_model(swin)
    export_network(FaceNetwork.create("standin", InputSpec(size=32)), tmp_path / "teacher.onnx")
    embed_teacher(network, open_dataset(DATA), tmp_path / "bank")
    onnx, bare = f"teacher.model={tmp_path / 'teacher.onnx'}", "teacher.prompts=null"
    plain = (bare, "objectives.prompt_preservation=null")
    with pytest.raises(FacedistillError, match="is an ONNX file, in which nothing can train"):
        run(recipe(onnx), tmp_path / "run", silent)
    with pytest.raises(FacedistillError, match="'urfm' compares pixel features"):
        run(recipe(onnx, *plain), tmp_path / "run", silent)
    with pytest.raises(FacedistillError, match="is an ONNX file, which has its own"):
        run(recipe(onnx, *plain, "teacher.precision=bf16"), tmp_path / "run", silent)
    bank = f"teacher.bank={tmp_path / 'bank'}"
    with pytest.raises(FacedistillError, match="'urfm' compares pixel features"):
        run(recipe(bank, *plain), tmp_path / "run", silent)
    with pytest.raises(FacedistillError, match="prompts train in an online teacher"):
        recipe(bank)
    with pytest.raises(FacedistillError, match="a bank computes nothing"):
        recipe(bank, *plain, "teacher.precision=bf16")
    for by in ("embedding-kl", "classes"):
        kept = f"objectives.prompt_preservation.by={by}"
        with pytest.raises(
            FacedistillError, match=r"'prompt_preservation' is for prompts, and .*swin"
        ):
            run(recipe(bare, kept), tmp_path / "run", silent)
    for name in ("arcdistill", "adadistill", "triplet_distillation"):
        terms = ("objectives.urfm=null", f"objectives.{name}={{}}", "data.images_per_person=2")
        with pytest.raises(FacedistillError, match=r"no objective trains the prompts of .*swin"):
            run(recipe(*terms), tmp_path / "run", silent)
    with pytest.raises(FacedistillError, match="nothing trains the student: prompt_preservation"):
        run(
            recipe("objectives.urfm=null", "objectives.margin_softmax=null"), tmp_path / "r", silent
        )
    with pytest.raises(FacedistillError, match=r"swin changes .* gives no logits: leave"):
        run(recipe("objectives.kd={}"), tmp_path / "run", silent)
    with pytest.raises(FacedistillError, match="only `teacher` can have prompts"):
        recipe(f"teachers={{second: {{model: {swin}, prompts: {{count: 2}}, licence: unknown}}}}")
