"""Pipes in place of files that commands read: refused at once, as reading would never end."""

import os
import signal

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.ijb_files import read_ijb
from facedistill.data.formats.landmark_list import read_landmark_list
from facedistill.data.formats.pts_folder import read_pts
from facedistill.data.formats.recordio_verification import verify_records
from facedistill.data.formats.recordio_writer import RecordIOWriter
from facedistill.data.open import open_dataset
from facedistill.data.pairs.group_table import read_groups
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import read_info, shard_path
from facedistill.distill.bank.tensor_cache import Kind, kept_tensors
from facedistill.distill.teachers.prompted import load_prompts
from facedistill.engine.checkpoint import load_checkpoint
from facedistill.engine.metrics_log import MetricsLog, read_metrics
from facedistill.evaluation.stored_embeddings import open_stored
from facedistill.experiments.comparing import _seconds_per_step
from facedistill.experiments.comparison_latency import _read as read_latency
from facedistill.experiments.folder import claim
from facedistill.experiments.measurement import measurement_path, read_measurement
from facedistill.experiments.ownership import check_owner
from facedistill.experiments.summary import changed_origin, read_summary
from facedistill.experiments.trial import read_error
from facedistill.export.target import open_engine
from facedistill.models.files.open_network import open_network
from facedistill.models.heads.class_head import load_head
from facedistill.recipe.comparison import load_comparison
from facedistill.recipe.loading import load_recipe
from facedistill.report.documents.inspection import inspect_source
from facedistill.runtime.recogniser import Recogniser
from tests.distill.conftest import Faces, embed, embed_bank, info_of


@pytest.fixture(autouse=True)
def patience():
    """A test that waits for a pipe fails."""

    def tired(number, frame):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, tired)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def of(name, read):
    """A reader of a file of that name in the folder."""
    return (name, lambda folder: read(folder / name))


def records(folder):
    with RecordIOWriter(folder, size=(8, 8)) as writer:
        writer.write(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), 0)


def replaced(name, make, read):
    """A reader of a file that belongs to others, and is a pipe."""

    def prepared(folder):
        (folder / name).unlink()
        make(folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        read(folder)

    return (name, prepared)


def bank(folder):
    faces = Faces(range(8))
    embed_bank(embed, faces, folder / "bank", info=info_of(faces), batch_size=4)


def shard(folder):
    bank(folder)
    path = shard_path(folder / "bank", 0)
    path.unlink()
    (folder / "rows").rename(path)
    Bank(folder / "bank")


def measured(folder):
    path = measurement_path(folder, "set")
    path.parent.mkdir()
    (folder / "set.npz").rename(path)
    read_measurement(folder, "set", "mark")


def beside(folder):
    (folder / "net.param").write_text("7767517")
    inspect_source(folder / "net.param")


READERS = [
    ("train.rec", open_dataset),
    replaced("train.idx", records, open_dataset),
    replaced("property", records, open_dataset),
    replaced("train.checksums.npy", records, verify_records),
    of("list.csv", open_dataset),
    of("list.lst", open_dataset),
    of("list.txt", read_landmark_list),
    of("face.pts", read_pts),
    of("pairs.bin", open_pairs),
    ("pairs.txt", open_pairs),
    ("pairs.csv", open_pairs),
    of("groups.csv", read_groups),
    ("ijbc_face_tid_mid.txt", read_ijb),
    ("bank.json", read_info),
    ("rows", shard),
    ("set.npz", measured),
    ("rows.npy", lambda folder: open_stored(folder / "rows.npy")),
    ("checkpoint.pt", lambda folder: load_checkpoint(folder / "checkpoint.pt", "hash")),
    ("summary.json", lambda folder: read_summary(folder, None)),
    ("summary.json", lambda folder: changed_origin(folder, None)),
    of("summary.json", _seconds_per_step),
    ("metrics.jsonl", lambda folder: MetricsLog(folder, 0)),
    of("metrics.jsonl", read_metrics),
    ("error.json", read_error),
    ("recipe.yaml", lambda folder: check_owner(folder, load_recipe("arcface"))),
    of("recipe.yaml", load_recipe),
    ("comparison.yaml", lambda folder: load_comparison([str(folder / "comparison.yaml")])),
    (".lock", lambda folder: claim(folder).__enter__()),
    ("latency.json", lambda folder: read_latency(folder / "latency.json", {})),
    of("net.safetensors", open_network),
    of("net.pt", open_network),
    of("net.pth.tar", open_network),
    of("net.onnx", open_network),
    of("net.onnx", inspect_source),
    of("net.onnx", Recogniser.load),
    of("net.xml", inspect_source),
    of("net.param", inspect_source),
    of("net.tflite", inspect_source),
    of("net.xml", open_engine),
    of("net.param", open_engine),
    ("net.param.json", beside),
    ("net.head.safetensors", lambda folder: load_head(folder / "net.head.safetensors", None)),
    ("prompts.safetensors", lambda folder: load_prompts(None, folder / "prompts.safetensors")),
    (
        "kept.safetensors",
        lambda folder: kept_tensors(folder / "kept.safetensors", "f", {"a": Kind((1,))}, dict),
    ),
]


@pytest.mark.parametrize(("name", "read"), READERS)
def test_a_pipe_is_refused(tmp_path, name, read):
    (tmp_path / "best.safetensors").touch()
    os.mkfifo(tmp_path / name)
    with pytest.raises(FacedistillError, match="is a pipe, not a file"):
        read(tmp_path)
