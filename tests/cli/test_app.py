"""Every command, on tiny procedural faces, as the README spells them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from facedistill.cli.app import app
from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.teachers.prompted import PromptedNetwork, save_prompts
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.files.open_network import open_network
from facedistill.runtime.input_spec import InputSpec
from tests.data.formats.ijb_folder import write_ijb

FACES = "procedural:identities=12,images=4,size=32"
TINY = [
    "student.arguments.width=0.25",
    "student.input.size=32",
    "student.embedding_size=16",
    "data.validation_identities=4",
    "data.validation_pairs=20",
    "data.workers=0",
    "training.steps=2",
    "training.batch_size=8",
]


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def settings(*more: str) -> list[str]:
    return [word for setting in (*TINY, *more) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Pack, train a teacher, embed, distil: what the README's main job does."""
    folder = tmp_path_factory.mktemp("story")
    call("prepare", FACES, "--pack", "--workers", "0", "--out", folder / "faces")
    faces = f"data.train={folder / 'faces'}"
    call("train", "arcface", "--out", folder / "teacher", *settings(faces))
    teacher = folder / "teacher" / "best.safetensors"
    call("embed", "--teacher", teacher, "--data", folder / "faces", "--out", folder / "bank")
    bank = f"teacher.bank={folder / 'bank'}"
    call("distill", "fcd", "--out", folder / "student", *settings(faces, bank))
    student = folder / "student" / "best.safetensors"
    call("export", student, "--out", folder / "student.onnx")
    return folder


def test_main_job_leaves_a_student_and_its_onnx_file(story):
    assert (story / "student" / "summary.json").exists()
    assert (story / "student.onnx").stat().st_size > 10_000


def test_a_finished_run_is_not_repeated(story):
    before = (story / "student" / "best.safetensors").stat().st_mtime_ns
    faces, bank = f"data.train={story / 'faces'}", f"teacher.bank={story / 'bank'}"
    said = call("distill", "fcd", "--out", story / "student", *settings(faces, bank))
    assert "finished" in said
    assert (story / "student" / "best.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("model", ["student/best.safetensors", "student.onnx"])
def test_evaluate_prints_the_same_figures_as_text_and_json(story, model):
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"
    (figures,) = json.loads(call("evaluate", story / model, pairs, "--json"))
    accuracy = figures["verification"]["insightface"]["accuracy"]
    assert f"{100 * accuracy:.2f} %" in call("evaluate", story / model, pairs)


def test_evaluate_draws_masks_by_their_seed_and_says_so(story):
    model = story / "student" / "best.safetensors"
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"

    def figures(*options):
        (said,) = json.loads(call("evaluate", model, pairs, "--json", *options))
        return said

    assert figures()["masked"] is None
    one, other = figures("--mask", "one"), figures("--mask", "one", "--mask-seed", "1")
    assert one["masked"] == "one"
    assert one == figures("--mask", "one", "--mask-seed", "0")
    assert one["auc"] != other["auc"]
    assert "(both images masked): accuracy" in call("evaluate", model, pairs, "--mask", "both")


def test_evaluate_spoils_pairs_and_writes_a_report(story, tmp_path):
    model = story / "student" / "best.safetensors"
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"
    said = call(
        *("evaluate", model, pairs, "--robustness", "one", "--no-flip"),
        *("--resamples", "0", "--report", tmp_path / "report"),
    )
    assert "second image masked: accuracy" in said
    assert f"wrote {tmp_path / 'report' / 'report.json'}, " in said
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["network"] == str(model)
    (part,) = document["evaluations"]
    assert part["robustness"]["which"] == "one"
    assert "Hardest false accepts" in (tmp_path / "report" / "report.html").read_text()


def test_evaluate_compares_all_pairs_and_searches_among_distractors(story):
    model = story / "student.onnx"
    people = "procedural:identities=6,images=3,size=32,first_identity=900,seed=3"
    strangers = "procedural:identities=20,images=1,size=32,first_identity=700,seed=3"
    fast = ("--no-flip", "--resamples", "0", "--json")
    (figures,) = json.loads(
        call("evaluate", model, people, "--all-pairs", "--mask", "one", "--far", "0.1", *fast)
    )
    assert (figures["genuine"], figures["impostors"]) == (36, 270)
    (figures,) = json.loads(call("evaluate", model, people, "--distractors", strangers, *fast))
    assert figures["rates"][-1]["distractors"] == 20


def test_evaluate_takes_embeddings_compares_networks_and_groups(story, tmp_path):
    pairs = "procedural:identities=30,images=4,size=32,first_identity=900,seed=3"
    images = 120
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.normal(size=(images, 8)).astype(np.float16))
    np.save(tmp_path / "b.npy", rng.normal(size=(images, 8)))
    (tmp_path / "groups.csv").write_text(
        "identity,parity\n" + "".join(f"{i},{i % 2}\n" for i in range(30))
    )
    stored = ("evaluate", "--embeddings", tmp_path / "a.npy", pairs, "--resamples", "50")
    assert "accuracy" in call(*stored)
    (figures,) = json.loads(
        call(
            *(*stored, "--embeddings-flipped", tmp_path / "b.npy", "--far", "0.2", "--json"),
            *("--against", tmp_path / "b.npy", "--groups", tmp_path / "groups.csv"),
            *("--group-far", "0.1"),
        )
    )
    assert figures["flip"]
    assert list(figures["tar_at_far"]) == ["2e-1"]
    assert figures["difference"]["tar"]["2e-1"]["interval"]
    assert [group["group"] for group in figures["fairness"][0]["groups"]] == ["0", "1"]


def test_evaluate_finds_out_that_a_folder_is_ijb(tmp_path):
    wrote = write_ijb(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("plain", "flipped"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(len(wrote["people"]), 8)))
    command = ("evaluate", "--embeddings", tmp_path / "plain.npy", tmp_path)
    assert "IJBC 1:1 N1D1F0" in call(*command)
    (figures,) = json.loads(
        call(
            *(*command, "--embeddings-flipped", tmp_path / "flipped.npy"),
            *("--variant", "all", "--far", "0.1", "--json"),
        )
    )
    assert len(figures["verification"]) == len(figures["identification"]) == 8


@pytest.mark.parametrize("model", ["student/best.safetensors", "student.onnx"])
def test_evaluate_saves_thresholds_that_verify_uses(story, tmp_path, model):
    path = tmp_path / Path(model).name
    path.write_bytes((story / model).read_bytes())
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"
    command = ("evaluate", path, pairs, "--far", "0.25", "--resamples", "0", "--save-thresholds")
    assert '"2.5e-1":' in call(*command)
    (figures,) = json.loads(call(*command[:-1], "--json"))
    saved = open_network(path).thresholds
    assert saved["2.5e-1"] == pytest.approx(figures["thresholds"]["2.5e-1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["student.onnx"], "say what to measure on"),
        (["student.onnx", "procedural:identities=9,images=4,size=32", "--variant", "N1"], "N1D1F1"),
        (["student.onnx", "x", "--embeddings-flipped", "x.npy"], "needs --embeddings"),
        (["student.onnx", "x", "--groups", "none.csv"], "none.csv"),
        (["x", "--embeddings", "x.npy", "--prompts", "p"], "--prompts are a network's"),
        (["x.npy", "x", "--prompts", "p"], "--prompts are a network's"),
        (["swin", "x", "--prompts", "p", "--save-thresholds"], "those of the prompted network"),
    ],
)
def test_evaluate_refuses_what_does_not_fit_before_it_works(arguments, message):
    with pytest.raises(FacedistillError, match=message):
        call("evaluate", *arguments)


def test_a_prompted_teacher_is_measured_and_embeds(story, tmp_path):
    torch.manual_seed(0)
    network = FaceNetwork.create("swin_nano", InputSpec(size=32), embedding_size=16)
    swin, prompts = tmp_path / "swin.safetensors", tmp_path / "prompts.safetensors"
    save_model(network, swin)
    save_prompts(PromptedNetwork(network, 3), prompts)
    pairs = "procedural:identities=12,images=4,size=32"
    command = ("evaluate", swin, pairs, "--resamples", "0", "--json")
    (plain,), (prompted,) = (
        json.loads(call(*command)),
        json.loads(call(*command, "--prompts", prompts)),
    )
    assert plain["auc"] != prompted["auc"]
    # A run's folder will do.
    call(*command, "--prompts", tmp_path, "--report", tmp_path / "report")
    assert "3 of each stage" in (tmp_path / "report" / "report.md").read_text()

    faces = story / "faces"
    embed = ("embed", "--teacher", swin, "--data", faces, "--workers", "0", "--out")
    call(*embed, tmp_path / "plain")
    assert "with prompts" in call(*embed, tmp_path / "prompted", "--prompts", prompts)
    banks = [Bank(tmp_path / name) for name in ("plain", "prompted")]
    plain, prompted = (bank.embeddings(np.arange(4)) for bank in banks)
    assert np.abs(plain - prompted).max() > 1e-3
    student = story / "student" / "best.safetensors"
    for model, message in ((student, "of teacher swin_nano"), (story / "student.onnx", "an ONNX")):
        with pytest.raises(FacedistillError, match=message):
            call("evaluate", model, pairs, "--prompts", prompts)
    with pytest.raises(FacedistillError, match="--prompts are a network's: give --teacher"):
        call("embed", "--import", "x.npy", "--data", faces, "--out", "x", "--prompts", prompts)


def test_verify_takes_what_a_foreign_network_does_not_say(story, tmp_path):
    faces = open_dataset("procedural:identities=2,images=1,size=32")
    images = [tmp_path / f"{index}.png" for index in range(2)]
    for index, path in enumerate(images):
        path.write_bytes(faces.encoded(index))
    command = ("verify", "--model", story / "student.onnx", *images)
    assert "cosine" in call(*command, "--size", "32", "--color", "RGB")
    with pytest.raises(FacedistillError, match="carries its own input specification"):
        call(*command, "--size", "32", "--color", "BGR")


@pytest.mark.parametrize("what", ["faces", "bank", "student/best.safetensors", "student.onnx"])
def test_inspect_describes_everything_the_job_made(story, what):
    description = json.loads(call("inspect", story / what, "--json"))
    assert description["kind"]
    assert call("inspect", story / what).startswith(next(iter(description)))


def test_export_takes_what_it_is_asked_for_and_inspect_tells(story, tmp_path):
    asked = "--input", "float", "--batch", "2", "--normalise", "--opset", "19"
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"
    out = tmp_path / "student.onnx"
    student = story / "student" / "best.safetensors"
    said = json.loads(call("export", student, *asked, "--pairs", pairs, "--json", "--out", out))
    assert (said["input"], said["batch"], said["normalise"]) == ("float", 2, True)
    assert said["agreement"]["min_cosine"] > 1 - 1e-5
    assert abs(said["accuracy"]["difference"]["difference"]) < 0.2
    carried = json.loads(call("inspect", out, "--json"))["metadata"]
    assert carried["input"]["kind"] == "float32_nchw"
    assert carried["training_data"] == "faces: 32 images of 8 people"


def test_inspect_writes_a_sheet_and_checks_records(story, tmp_path):
    call("inspect", story / "faces", "--sheet", tmp_path / "sheet.png", "--verify")
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_verify_says_the_same_person_of_one_image_twice(story, tmp_path):
    from facedistill.data.formats.decode import encode_png
    from facedistill.faces.synthetic.procedural_face import procedural_face

    path = tmp_path / "a.png"
    path.write_bytes(encode_png(procedural_face(0, 0, 0, size=32)[0]))
    said = call("verify", path, path, "--model", story / "student.onnx", "--threshold", "0.3")
    assert said.startswith("same person: cosine 1.0000")


def test_bench_says_what_it_measured_on_what(story):
    arguments = ("bench", story / "student.onnx", "--threads", 1, "--batch", 2, "--calls", 3)
    document = json.loads(call(*arguments, "--json"))
    (row,) = document["rows"]
    assert (row["model"], row["engine"]) == ("student.onnx", "ONNX Runtime")
    assert (row["threads"], row["batch"], document["calls"]) == (1, 2, 3)
    assert row["file_bytes"] == (story / "student.onnx").stat().st_size
    assert 0 < row["median_milliseconds"]["value"] <= row["p95_milliseconds"]
    assert document["machine"]["versions"]["onnxruntime"]


def test_labels_with_holes_embed_train_and_export(story, tmp_path):
    from facedistill.data.open import open_dataset

    faces = open_dataset(FACES)
    lines = []
    for index in range(len(faces)):
        (tmp_path / f"{index}.png").write_bytes(faces.encoded(index))
        lines.append(f"{index}.png\t{3 * int(faces.labels[index])}\n")
    listed = tmp_path / "faces.txt"
    listed.write_text("".join(lines))
    teacher, bank = story / "teacher" / "best.safetensors", tmp_path / "bank"
    call("embed", "--teacher", teacher, "--data", listed, "--out", bank)
    more = settings(f"data.train={listed}", "data.relabel=true", f"teacher.bank={bank}")
    call("distill", "fcd", "--out", tmp_path / "run", *more)
    student = tmp_path / "run" / "best.safetensors"
    said = call("export", student, "--data", listed, "--out", tmp_path / "student.onnx")
    assert f"parity check with torch on {len(faces)} faces" in said


def test_a_recipe_with_a_teacher_is_not_for_train(tmp_path):
    with pytest.raises(FacedistillError, match="use `facedistill distill`"):
        call("train", "fcd", "--out", tmp_path / "run")


def test_a_recipe_without_a_teacher_is_not_for_distill(tmp_path):
    with pytest.raises(FacedistillError, match="has no teacher"):
        call("distill", "arcface", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evaluate", "absent.onnx", "procedural:identities=9,images=4,size=32"], "absent.onnx"),
        (["distill", "fdc"], "did you mean 'fcd'?"),
        (["inspect", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, line):
    command = [sys.executable, "-m", "facedistill", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    (said,) = result.stderr.strip().splitlines()
    assert said.startswith("error: ")
    assert line in said


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from typer.testing import CliRunner; from facedistill.cli.app import app; "
        "assert 'distill' in CliRunner().invoke(app, ['--help']).output; "
        "sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LOOSE = "procedural:identities=6,images=3,size=32,loose=1"


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    """Two steps of a landmark network, and its ONNX file."""
    folder = tmp_path_factory.mktemp("finder")
    data = (f"data.train={LOOSE}", "data.validation_identities=2")
    call("train", "landmarks", "--out", folder / "run", *settings(*data))
    call("export", folder / "run" / "best.safetensors", "--out", folder / "finder.onnx")
    return folder


@pytest.mark.parametrize("model", ["run/best.safetensors", "finder.onnx"])
def test_landmarks_are_evaluated_and_pictured(finder, model, tmp_path):
    wanted = ("--pictures", tmp_path / "pictures", "--report", tmp_path / "report")
    said = call("evaluate", finder / model, LOOSE, "--json", *wanted)
    (figures,) = json.loads(said[: said.rindex("]") + 1])
    assert figures["faces"] == 18
    line = call("evaluate", finder / model, LOOSE)
    assert f"NME {100 * figures['nme']['value']:.2f} %" in line
    assert (tmp_path / "pictures" / "faces.png").exists()
    assert "normalised mean error" in (tmp_path / "report" / "report.html").read_text()


def test_options_of_pairs_are_refused_for_landmarks(finder):
    for option in (
        ("--mask", "one"),
        ("--save-thresholds",),
        ("--against", "other.onnx"),
        ("--robustness", "both"),
        ("--all-pairs",),
        ("--distractors", "strangers"),
        ("--far", "0.01"),
        ("--protocol", "exact"),
        ("--variant", "all"),
        ("--no-flip",),
        ("--group-far", "0.001"),
        ("--mask-seed", "1"),
    ):
        with pytest.raises(FacedistillError, match=f"for pairs, not for landmarks: {option[0]};"):
            call("evaluate", finder / "finder.onnx", LOOSE, *option)
    with pytest.raises(FacedistillError, match="carries its own input specification"):
        call("evaluate", finder / "run" / "best.safetensors", LOOSE, "--color", "BGR")


def test_loose_crops_are_aligned_into_records_or_files(finder, tmp_path):
    align = ("prepare", LOOSE, "--align", "--model", finder / "finder.onnx", "--workers", "0")
    sheet = tmp_path / "sheet.png"
    call(*align, "--pack", "--out", tmp_path / "records", "--sheet", sheet)
    assert sheet.exists()
    assert json.loads(call("inspect", tmp_path / "records", "--json"))["images"] == 18
    call(*align, "--out", tmp_path / "files", "--size", "48")
    assert len(list((tmp_path / "files").glob("*/*.jpg"))) == 18
    with pytest.raises(FacedistillError, match="is a folder: name the picture in it"):
        call(*align, "--out", tmp_path / "other", "--sheet", tmp_path)
    assert not (tmp_path / "other").exists()
    assert (
        json.loads(call("inspect", finder / "run" / "best.safetensors", "--json"))["landmarks"] == 5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to do: --align warps"),
        (["--align"], "--align needs --model"),
        (["--pack", "--model", "x.onnx"], "--align needs --model"),
        (["--pack", "--sheet", "x.png"], "--sheet goes with both"),
    ],
)
def test_prepare_refuses_what_does_not_go_together(tmp_path, options, message):
    with pytest.raises(FacedistillError, match=message):
        call("prepare", LOOSE, "--out", tmp_path / "out", *options)
