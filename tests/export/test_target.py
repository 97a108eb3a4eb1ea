import sys
from types import SimpleNamespace

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.export.target import (
    TARGETS,
    ExportOptions,
    Runtime,
    Target,
    open_engine,
    read_metadata,
    stored_bytes,
    target_named,
    target_of,
)

RUNTIME = Runtime("Fake", "fake_runtime", "fake-runtime")


def test_targets_are_found_by_name_and_suffix():
    for name, target in TARGETS.items():
        assert target_named(name) is target
        assert target_of(f"folder/student{target.suffix.upper()}").suffix == target.suffix
    assert target_of("student.onnx").name == "onnx"
    assert target_of("student.xml").name == "openvino"


def test_unknown_names_and_suffixes_are_refused_with_what_there_is():
    with pytest.raises(FacedistillError, match="unknown target 'tfl': known: coreml, litert, "):
        target_named("tfl")
    with pytest.raises(FacedistillError, match=r"a\.pb: an exported file's name ends in \."):
        open_engine("a.pb")
    with pytest.raises(FacedistillError, match=r"a\.pb: an exported file's name ends in \."):
        read_metadata("a.pb")


@pytest.mark.parametrize("function", ["write", "open_engine", "read_metadata"])
def test_a_missing_extra_is_named_with_the_line_that_installs_it(monkeypatch, function):
    def needs(*given, **more):
        import onnx_of_tomorrow.core  # noqa: F401

    module = SimpleNamespace(write=needs, open_engine=needs, read_metadata=needs)
    monkeypatch.setitem(sys.modules, "fake_target", module)
    target = Target("fake", "Fake", "fake_target", ".fake", RUNTIME, extra="tomorrow")
    arguments = {"write": [None, None, None]}.get(function, [None])
    with pytest.raises(FacedistillError) as error:
        getattr(target, function)(*arguments)
    assert str(error.value) == (
        "target fake needs packages that cannot be imported (No module named 'onnx_of_tomorrow'): "
        "pip install 'facedistill[tomorrow]'"
    )


@pytest.mark.parametrize(
    "code",
    ["import onnx_of_tomorrow", "raise OSError('libodd.so: undefined symbol')", "len.of_tomorrow"],
)
def test_missing_or_broken_packages_of_a_target_are_named_with_the_remedy(
    monkeypatch, tmp_path, code
):
    (tmp_path / "target_of_tomorrow.py").write_text(f"{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    target = Target("fake", "Fake", "target_of_tomorrow", ".fake", RUNTIME, extra="tomorrow")
    with pytest.raises(FacedistillError, match=r"pip install 'facedistill\[tomorrow\]'"):
        target.open_engine(tmp_path / "a.fake")


def test_other_faults_are_no_missing_extra(monkeypatch):
    def fails(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(sys.modules, "fake_target", SimpleNamespace(read_metadata=fails))
    with pytest.raises(OSError, match="No space left"):
        Target("fake", "Fake", "fake_target", ".f", RUNTIME, extra="extra").read_metadata("a.f")
    with pytest.raises(ModuleNotFoundError, match=r"facedistill\.export\.nothing"):
        Target(
            "fake", "Fake", "facedistill.export.nothing", ".f", RUNTIME, extra="extra"
        ).read_metadata("a.f")


def test_options_are_the_targets_own_less_what_is_stated():
    target = Target("fake", "Fake", "fake", ".fake", RUNTIME, defaults=ExportOptions(batch=1))
    assert target.options() == ExportOptions(batch=1)
    assert target.options(batch="dynamic", input="float") == ExportOptions(input="float")
    assert target.options(batch="7", normalise=True, opset=20) == ExportOptions(
        batch=7, normalise=True, opset=20
    )
    for wrong in ("some", "-1", "0", "1.5", ""):
        with pytest.raises(FacedistillError, match="batch"):
            target.options(batch=wrong)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"batch": 0}, "batch 0: take at least 1"), ({"opset": 11}, "opset 11: take 18")],
)
def test_wrong_options_are_refused(given, message):
    with pytest.raises(FacedistillError, match=message):
        ExportOptions(**given)


def test_the_size_is_of_all_that_belongs_to_a_file(tmp_path):
    for name, size in {"a.xml": 3, "a.bin": 5, "b.bin": 7, "a.onnx": 11}.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert stored_bytes(tmp_path / "a.xml") == 8
    assert stored_bytes(tmp_path / "a.onnx") == 11
    (tmp_path / "a.mlpackage" / "inner").mkdir(parents=True)
    (tmp_path / "a.mlpackage" / "inner" / "weights").write_bytes(bytes(13))
    assert stored_bytes(tmp_path / "a.mlpackage") == 13
