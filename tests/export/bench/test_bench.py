import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.process import usable_processors
from facedistill.export.bench import bench as bench_module
from facedistill.export.bench import network_engine
from facedistill.export.bench.bench import bench
from facedistill.export.bench.bench_process import Measured
from facedistill.export.target import TARGETS, Runtime, Target
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.foreign.foreign_weights import UnstatedInput
from facedistill.runtime.file_digest import write_digest
from facedistill.runtime.header import HEADER_KEY
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401  (registers the architecture)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    network = FaceNetwork.create("standin", InputSpec(size=32), embedding_size=3)
    save_model(network, folder / "runs" / "one" / "best.safetensors")
    onnx.save(mean_colour(), folder / "runs" / "one" / "best.onnx")
    write_digest(folder / "runs" / "one" / "best.onnx")
    onnx.save(mean_colour(carried=False), folder / "foreign.onnx")
    return folder


def mean_colour(carried=True):
    """A file whose embedding of a face is its mean colour; exporting a network takes seconds."""
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["pixels", "sides"], ["embedding"], keepdims=0),
    ]
    faces = ("image", onnx.TensorProto.UINT8, ["batch", 32, 32, 3])
    given = ("embedding", onnx.TensorProto.FLOAT, ["batch", 3])
    graph = onnx.helper.make_graph(
        nodes,
        "mean",
        [onnx.helper.make_tensor_value_info(*faces)],
        [onnx.helper.make_tensor_value_info(*given)],
        [onnx.numpy_helper.from_array(np.array([1, 2]), "sides")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    document = {
        "format": 1,
        "input": {"kind": "uint8_nhwc_rgb", **InputSpec(size=32).to_dict()},
        "batch": None,
    }
    if carried:
        onnx.helper.set_model_props(model, {HEADER_KEY: json.dumps(document)})
    return model


@pytest.fixture
def here(monkeypatch):
    """Networks run in this process, on a clock of their own: a face takes its pixels' time."""
    opened = []

    class Here(Measured):
        def __init__(self, subject, threads, cpus):
            super().__init__(subject, threads)
            opened.append((subject.path.suffix, threads, cpus))
            self.speed = 4 if subject.path.suffix == ".onnx" else 1

        def wait(self):
            pass

        def end(self):
            opened.append("ended")

        def warm_up(self, batch, calls):
            super().warm_up(batch, 1)
            return 1_000_000 * batch * self.speed

        def time(self, batch, calls):
            assert self.engine.embed(self._batch_of(batch)).shape == (batch, 3)
            return [0.008 * batch / self.speed] * calls

    monkeypatch.setattr(bench_module, "Apart", Here)
    return opened


def test_every_network_is_measured_with_every_number_of_threads_and_faces(files, here):
    models = [files / "runs/one/best.safetensors", files / "runs/one/best.onnx"]
    report = bench(models, threads=[1], batches=[3, 1, 3], calls=12)
    assert here == [
        (".safetensors", 1, usable_processors()[-1:] if report.pinned else None),
        (".onnx", 1, usable_processors()[-1:] if report.pinned else None),
        "ended",
        "ended",
    ]
    assert [(row.name, row.engine, row.batch) for row in report.rows] == [
        ("best.safetensors", "PyTorch", 1),
        ("best.onnx", "ONNX Runtime", 1),
        ("best.safetensors", "PyTorch", 3),
        ("best.onnx", "ONNX Runtime", 3),
    ]
    assert [row.latency.seconds.shape for row in report.rows] == [(10, 2)] * 4
    assert [row.latency.milliseconds.value for row in report.rows] == [8, 2, 24, 6]
    assert [row.memory for row in report.rows] == [1e6, 4e6, 3e6, 12e6]
    assert [row.file_bytes for row in report.rows] == 2 * [each.stat().st_size for each in models]
    assert report.calls == 20
    assert {"torch", "onnxruntime", "numpy"} <= report.machine.versions.keys()


def test_a_foreign_onnx_file_is_timed_too(files, here):
    (row,) = bench([files / "foreign.onnx"], threads=[1], batches=[2], calls=3).rows
    assert (row.name, row.engine, row.batch) == ("foreign.onnx", "ONNX Runtime", 2)
    assert row.faces_per_second == pytest.approx(2 / 0.004)


def test_what_changes_no_time_need_not_be_stated(monkeypatch):
    """Checkpoints whose colours are not known; a size is asked for where a file says none."""
    asked = []

    def open_unstated(path, *, input):
        asked.append((input.size, input.color))
        if input.color is None:
            raise UnstatedInput("state --color")
        return "network"

    monkeypatch.setattr(network_engine, "open_network", open_unstated)
    assert network_engine.open_timed(Path("swin.pt"), 224) == "network"
    assert asked == [(224, None), (224, "RGB")]


def test_files_of_every_target_have_a_runtime(monkeypatch):
    runtime = Runtime("Fake", "fake_runtime", "fake-runtime")
    target = Target("fake", "Fake", "fake_target", ".fake", runtime)
    monkeypatch.setitem(TARGETS._entries, "fake", target)
    assert bench_module.runtime_of(Path("a.fake")) is runtime
    with pytest.raises(FacedistillError, match=r"a\.txt: what can be timed is .*\.fake, .*\.onnx"):
        bench_module.runtime_of(Path("a.txt"))


def test_names_are_where_paths_part_and_weights_beside_a_file_count(tmp_path):
    names = bench_module._names([tmp_path / "runs/a/x.onnx", tmp_path / "runs/b/x.onnx"])
    assert names == ["a/x.onnx", "b/x.onnx"]
    assert bench_module._names([tmp_path / "x.onnx"]) == ["x.onnx"]
    assert bench_module._names([tmp_path / "x.onnx"] * 2) == ["x.onnx"] * 2
    (tmp_path / "x.xml").write_bytes(bytes(10))
    (tmp_path / "x.bin").write_bytes(bytes(100))
    (tmp_path / "x.pt").write_bytes(bytes(5))
    (tmp_path / "x.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "x.mlpackage" / "Data" / "weights").write_bytes(bytes(7))
    assert bench_module._bytes(tmp_path / "x.xml") == 110
    assert bench_module._bytes(tmp_path / "x.mlpackage") == 7
    assert bench_module._bytes(tmp_path / "x.pt") == 5


@pytest.mark.parametrize(
    ("models", "options", "reason"),
    [
        ([], {}, "nothing to time"),
        (["x.txt"], {}, "x.txt: what can be timed is a .safetensors"),
        (["absent.onnx"], {}, "absent.onnx does not exist"),
        (["best.onnx"], {"threads": [10_000]}, "threads 10000: this process may use 1 to"),
        (["best.onnx"], {"batches": [0]}, "batch 0: take at least one face"),
        (["best.onnx"], {"calls": 0}, "0 timed calls: take at least one"),
    ],
)
def test_what_cannot_be_timed_is_refused_before_anything_is(files, here, models, options, reason):
    paths = [files / "runs/one" / name for name in models]
    with pytest.raises(FacedistillError, match=reason):
        bench(paths, **options)
    assert not here
