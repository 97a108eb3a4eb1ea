import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.bank import Bank
from facedistill.distill.teachers.prompted import PromptedNetwork, save_prompts
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.files.open_network import open_network
from facedistill.runtime.input_spec import InputSpec
from tests.cli.calling import LOOSE, call
from tests.data.formats.ijb_folder import write_ijb


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
        (document,) = json.loads(call("evaluate", model, pairs, "--json", *options))
        return document

    assert figures()["masked"] is None
    one, other = figures("--mask", "one"), figures("--mask", "one", "--mask-seed", "1")
    assert one["masked"] == "one"
    assert one == figures("--mask", "one", "--mask-seed", "0")
    assert one["auc"] != other["auc"]
    assert "(both images masked): accuracy" in call("evaluate", model, pairs, "--mask", "both")


def test_evaluate_perturbs_pairs_and_writes_a_report(story, tmp_path):
    model = story / "student" / "best.safetensors"
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"
    output = call(
        *("evaluate", model, pairs, "--robustness", "one", "--no-flip"),
        *("--resamples", "0", "--report", tmp_path / "report"),
    )
    assert "second image masked: accuracy" in output
    assert f"wrote {tmp_path / 'report' / 'report.json'}, " in output
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["network"] == str(model)
    (part,) = document["evaluations"]
    assert part["robustness"]["which"] == "one"
    assert "Hardest false accepts" in (tmp_path / "report" / "report.html").read_text()


def test_evaluate_writes_the_score_of_every_pair(story, tmp_path):
    model, path = story / "student" / "best.safetensors", tmp_path / "scores.csv"
    sets = [
        f"procedural:identities=12,images=4,size=32,first_identity=900,seed={n}" for n in (3, 4)
    ]
    text = call("evaluate", model, *sets, "--scores", path)
    assert f"wrote {path}" in text
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    own = [row for row in rows if "seed=3" in row["set"]]
    assert 0 < len(own) < len(rows)
    scores = np.array([float(row["score"]) for row in own])
    same = np.array([row["same"] == "1" for row in own])
    ranked = stats.mannwhitneyu(scores[same], scores[~same]).statistic / (
        same.sum() * (~same).sum()
    )
    (figures, _) = json.loads(call("evaluate", model, *sets, "--json"))
    assert ranked == pytest.approx(figures["auc"]["value"], abs=1e-4)
    assert sorted({int(row["fold"]) for row in own}) == list(range(10))
    with pytest.raises(FacedistillError, match=r"scores\.csv.*--overwrite"):
        call("evaluate", model, sets[0], "--scores", path)
    with pytest.raises(FacedistillError, match="--scores"):
        call("evaluate", model, sets[0], "--all-pairs", "--scores", tmp_path / "all.csv")
    assert not (tmp_path / "all.csv").exists()


def test_evaluate_compares_all_pairs_and_searches_among_distractors(story):
    model = story / "student.onnx"
    faces = "procedural:identities=6,images=3,size=32,first_identity=900,seed=3"
    distractors = "procedural:identities=20,images=1,size=32,first_identity=700,seed=3"
    fast = ("--no-flip", "--resamples", "0", "--json")
    (figures,) = json.loads(
        call("evaluate", model, faces, "--all-pairs", "--mask", "one", "--far", "0.1", *fast)
    )
    assert (figures["genuine"], figures["impostors"]) == (36, 270)
    (figures,) = json.loads(call("evaluate", model, faces, "--distractors", distractors, *fast))
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
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(len(wrote["identities"]), 8)))
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
    call(*command, "--all-pairs")
    (figures,) = json.loads(call(*command[:-1], "--all-pairs", "--json"))
    saved = open_network(path).thresholds
    assert saved["2.5e-1"] == pytest.approx(figures["tar_at_far"]["2.5e-1"]["threshold"])


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
    with pytest.raises(FacedistillError, match="--prompts is of a network: give --teacher"):
        call("embed", "--import", "x.npy", "--data", faces, "--out", "x", "--prompts", prompts)


@pytest.mark.parametrize("model", ["run/best.safetensors", "finder.onnx"])
def test_landmarks_are_evaluated_and_drawn(finder, model, tmp_path):
    wanted = ("--figures", tmp_path / "figures", "--report", tmp_path / "report")
    output = call("evaluate", finder / model, LOOSE, "--json", *wanted)
    (figures,) = json.loads(output[: output.rindex("]") + 1])
    assert figures["faces"] == 18
    line = call("evaluate", finder / model, LOOSE)
    assert f"NME {100 * figures['nme']['value']:.2f} %" in line
    assert (tmp_path / "figures" / "faces.png").exists()
    assert "normalised mean error" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pictures", "folder"], "not for pairs of images: --figures; leave that out"),
        (["--variant", "N1D1F1"], "not for pairs of images: --variant; leave that out"),
        (["--all-pairs", "--protocol", "insightface"], "a whole data set: --protocol; leave"),
        (["--all-pairs", "--groups", "groups.csv"], "a whole data set: --groups; leave"),
        (["--distractors", "{}", "--far", "0.1"], "among distractors: --far; leave that out"),
        (["--far", "0"], "--far 0: a rate is above 0 and at most 1"),
        (["--protocol", "lfw"], "--protocol: unknown protocol 'lfw'"),
    ],
)
def test_what_a_protocol_has_not_is_refused_before_the_network_is_opened(
    options, message, tmp_path, monkeypatch
):
    pairs = "procedural:identities=12,images=4,size=32"
    monkeypatch.chdir(tmp_path)
    Path("unopened.onnx").touch()
    Path("groups.csv").write_text("identity,parity\n0,a\n1,b\n")
    with pytest.raises(FacedistillError, match=message):
        call("evaluate", "unopened.onnx", pairs, *(each.format(pairs) for each in options))


def test_options_of_pairs_are_refused_for_landmarks(finder):
    for option in (
        ("--mask", "one"),
        ("--save-thresholds",),
        ("--against", finder / "finder.onnx"),
        ("--robustness", "both"),
        ("--all-pairs",),
        ("--distractors", LOOSE),
        ("--far", "0.01"),
        ("--protocol", "exact"),
        ("--protocol", "insightface"),
        ("--variant", "all"),
        ("--no-flip",),
        ("--group-far", "0.001"),
        ("--group-far", "0.01"),
        ("--mask-seed", "1"),
        ("--mask-seed", "0"),
        ("--prompts", finder),
    ):
        with pytest.raises(FacedistillError, match=f"not for landmarks: (--flip/)?{option[0]};"):
            call("evaluate", finder / "finder.onnx", LOOSE, *option)
    with pytest.raises(FacedistillError, match="carries its own input specification"):
        call("evaluate", finder / "run" / "best.safetensors", LOOSE, "--color", "BGR")


@pytest.mark.parametrize("text", ["1,2", "grey", "1,2,3,4", ""])
def test_a_mean_of_other_than_one_or_three_numbers_is_refused(story, text):
    with pytest.raises(FacedistillError, match="give one number, or three"):
        call("evaluate", story / "student.onnx", "pairs.bin", "--mean", text)
