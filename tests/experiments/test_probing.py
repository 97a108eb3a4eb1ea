"""What is measured of a teacher before any student learns."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from facedistill.cli.app import app
from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.bank.making import embed_teacher
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AcrossFoldsProtocol, AllPairsProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.experiments import probing
from facedistill.experiments.build.training_data import split_data
from facedistill.experiments.probing import probe, table
from facedistill.models.files.model_file import load_model
from tests.engine.standin import tiny_recipe

URFM = (
    "objectives.urfm={centres: 4, width: 16, heads: 2, places: true, learns: teacher_first, "
    "mapping_epochs: 1, mapping_batch: 16}"
)


def recipe(swin, *settings):
    return tiny_recipe(
        "data.train=procedural:identities=14,images=4,size=32",
        "data.validation_identities=8",
        "data.validation_pairs=40",
        f"teacher.model={swin}",
        URFM,
        *settings,
    )


def test_the_figures_are_those_of_the_features(swin, monkeypatch):
    one = recipe(swin)
    kept, measured = {}, probing._measured
    monkeypatch.setattr(
        probing, "_measured", lambda name, rows, *protocols: (
            kept.update({name: rows}) or measured(name, rows, *protocols)
        )
    )  # fmt: skip
    lines = []
    probed = {each.name: each for each in probe(one, None, lines.append)}
    assert list(probed) == ["embedding", "tokens", "urfm.h", "urfm.z"]
    assert any("mapping" in line for line in lines)
    pairs = split_data(one)[1]
    options = EvaluationOptions(flip=False, resamples=0, kfold="exact")
    network = load_model(swin)
    own = PairProtocol(pairs).evaluate(network, options)
    assert probed["embedding"].accuracy == own.result.accuracy
    everything = AllPairsProtocol(pairs.faces).evaluate(
        network, EvaluationOptions(fars=(1e-2,), flip=False, resamples=0)
    )
    assert probed["embedding"].tars["1e-2"] == everything.points[0].tar
    # Tokens are the network's own, place by place, in the order of the images.
    images = torch.from_numpy(np.stack([pairs.image(i) for i in range(len(pairs))]))
    with torch.inference_mode():
        tokens = network(images, {"tokens"}).tokens.flatten(1)
    np.testing.assert_allclose(kept["tokens"], tokens, atol=1e-5)
    # What is compared is standardised over all of them.
    assert kept["urfm.z"].shape == (len(pairs), 4 * 16)
    np.testing.assert_allclose(kept["urfm.z"].mean(axis=0), 0, atol=1e-4)
    text = table(list(probed.values()))
    assert text.count("\n") == 5
    assert "| urfm.z | 64 |" in text


def pairs_in_folds():
    """Ten folds of two identities each, with two genuine pairs and two others."""
    faces = open_dataset("procedural:identities=20,images=3,size=32,first_identity=900")
    images = [np.flatnonzero(faces.labels == identity) for identity in range(20)]
    pairs, same = [], []
    for one, other in zip(images[::2], images[1::2], strict=True):
        pairs += [one[:2], other[:2], (one[0], other[0]), (one[1], other[2])]
        same += [True, True, False, False]
    return PairSet("folds", faces, np.array(pairs), np.array(same))


def test_a_list_of_pairs_and_a_bank_with_its_network(swin, tmp_path):
    one = recipe(swin)
    faces, overlapping = split_data(one)
    write_bin(pairs_in_folds(), tmp_path / "pairs.bin")
    write_bin(overlapping, tmp_path / "overlapping.bin")
    embed_teacher(load_model(swin), faces, tmp_path / "bank", tokens=True)
    banked = recipe(swin, f"teacher.bank={tmp_path / 'bank'}")
    probed = probe(banked, tmp_path / "pairs.bin", lambda line: None)
    everything = AcrossFoldsProtocol(pairs_in_folds()).evaluate(
        load_model(swin), EvaluationOptions(fars=(1e-2,), flip=False, resamples=0)
    )
    assert probed[0].tars["1e-2"] == everything.points[0].tar
    with pytest.warns(UserWarning, match="no true accept rates over all pairs: .* folds 0 and"):
        probed = probe(banked, tmp_path / "overlapping.bin", lambda line: None)
    assert set(probed[0].tars.values()) == {None}
    assert table(probed).count(" - |") >= 2
    alone = recipe(swin, f"teacher.bank={tmp_path / 'bank'}", "teacher.model=null",
                   "objectives.urfm.position=euclid")  # fmt: skip
    with pytest.raises(FacedistillError, match=r"knows its own images only: give --set teacher\.m"):
        probe(alone, None, lambda line: None)


def test_what_cannot_be_probed_is_refused(swin):
    with pytest.raises(FacedistillError, match="nothing to measure on: give --pairs"):
        probe(recipe(swin, "data.validation_identities=0"), None, lambda line: None)
    with pytest.raises(FacedistillError, match="no objective of the recipe makes features"):
        probe(recipe(swin, "objectives.urfm=null", "objectives.fcd={}"), None, lambda line: None)


def test_the_command(swin, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe(swin).to_yaml())
    done = CliRunner().invoke(app, ["probe", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "tells identities best of what is mapped" in done.output
    done = CliRunner().invoke(app, ["probe", str(path), "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document["urfm.z"]["dimensions"] == 64
    with pytest.raises(FacedistillError, match=r"has no teacher: give --set teacher\.model="):
        CliRunner().invoke(app, ["probe", "arcface"], catch_exceptions=False)
