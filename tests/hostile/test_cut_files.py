"""Files that are cut between opening and reading: one error, where mapped memory ends the process.

The system sends SIGBUS to a process that reads mapped memory behind the end of its file, so all of
it happens in a child process.
"""

import os
import signal
from pathlib import Path

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio_headers import read_headers
from facedistill.data.formats.recordio_records import open_records, read_index
from facedistill.data.formats.recordio_writer import RecordIOWriter
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import shard_path
from facedistill.distill.bank.tensor_cache import Kind, kept_tensors
from facedistill.distill.bank.writing import import_bank
from facedistill.evaluation.stored_embeddings import open_stored
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.runtime.input_spec import InputSpec
from tests import child_process
from tests.distill.conftest import Faces, info_of

PAGES = 1 << 16
"""More than the page that stays when a file is cut to a few bytes."""
CUT = "the file changed while in use; start again"


def cut(path: Path) -> None:
    os.truncate(path, 100)


def read_mapped(folder):
    """What the others must not do."""
    np.save(folder / "a.npy", np.zeros(PAGES))
    mapped = np.load(folder / "a.npy", mmap_mode="r")
    cut(folder / "a.npy")
    mapped.sum()


def read_records(folder):
    with RecordIOWriter(folder, size=(1, 1)) as writer:
        for label in range(20):
            writer.write(bytes(4000), label)
    file = open_records(folder / "train.rec")
    index = read_index(file)
    cut(file.path)
    read_headers(file, *index)


def read_bank(folder):
    faces = Faces(range(8))
    values = np.eye(8, 4096, dtype=np.float32)
    info = info_of(faces, dimension=4096, views=("plain",), rows=8)
    bank = Bank(import_bank(values, faces, folder / "bank", info=info).folder)
    cut(shard_path(bank.folder, 0))
    bank.embeddings(np.arange(8))


def read_embeddings(folder):
    np.save(folder / "a.npy", np.ones((16, PAGES // 16)))
    stored = open_stored(folder / "a.npy")
    cut(folder / "a.npy")
    stored.summed()


def run_network(folder):
    """Weights that are read lie in memory; a file that is cut later is none of theirs."""
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.25, embedding_size=16)
    save_model(network, folder / "net.safetensors")
    loaded = load_model(folder / "net.safetensors")
    cut(folder / "net.safetensors")
    loaded(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    print("ran")


def kept(folder):
    """The same of tensors that are kept beside a bank."""
    path, kinds = folder / "kept.safetensors", {"a": Kind((PAGES,))}
    for _ in range(2):
        tensors = kept_tensors(path, "f", kinds, lambda: {"a": torch.ones(PAGES)})
    cut(path)
    print(int(tensors["a"].sum()))


def read_all(folder):
    for read in (read_records, read_bank, read_embeddings):
        (folder / read.__name__).mkdir()
        try:
            read(folder / read.__name__)
        except FacedistillError as error:
            print(error)
    run_network(folder)
    kept(folder)


def test_a_file_that_is_cut_is_one_error(tmp_path):
    ended = child_process.run(read_all, tmp_path)
    assert ended.code == 0, ended.err
    names = ("records/train.rec", "bank/bank/rows-00000.npy", "embeddings/a.npy")
    files = [tmp_path / f"read_{name}" for name in names]
    assert ended.out.splitlines() == [*(f"{path}: {CUT}" for path in files), "ran", str(PAGES)]


def test_mapped_memory_would_end_the_process(tmp_path):
    """Or the other test could not fail."""
    assert child_process.run(read_mapped, tmp_path).code == -signal.SIGBUS
