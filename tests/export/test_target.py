import sys
from types import SimpleNamespace

import pytest

from facedistill.errors import FacedistillError
from facedistill.export.target import (
    TARGETS,
    ExportOptions,
    Target,
    open_engine,
    read_metadata,
    stored_bytes,
    target_named,
    target_of,
)


def test_targets_are_found_by_name_and_suffix():
    for name, target in TARGETS.items():
        assert target_named(name) is target
        assert target_of(f"folder/student{target.suffix.upper()}").suffix == target.suffix
    assert target_of("student.onnx").name == "onnx"
    assert target_of("student.xml").name == "openvino"


def test_unknown_names_and_suffixes_are_refused_with_what_there_is():
    with pytest.raises(FacedistillError, match="unknown target 'tflite': take onnx, onnx-int8, "):
        target_named("tflite")
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
    target = Target("fake", "Fake", "fake_target", ".fake", extra="tomorrow")
    arguments = {"write": [None, None, None]}.get(function, [None])
    with pytest.raises(FacedistillError) as error:
        getattr(target, function)(*arguments)
    assert str(error.value) == (
        "target fake needs the package onnx_of_tomorrow: pip install 'facedistill[tomorrow]'"
    )


def test_a_target_whose_module_needs_a_missing_package_names_it(monkeypatch, tmp_path):
    (tmp_path / "target_of_tomorrow.py").write_text("import onnx_of_tomorrow\n")
    monkeypatch.syspath_prepend(tmp_path)
    target = Target("fake", "Fake", "target_of_tomorrow", ".fake", extra="tomorrow")
    with pytest.raises(FacedistillError, match=r"pip install 'facedistill\[tomorrow\]'"):
        target.open_engine(tmp_path / "a.fake")


def test_a_fault_of_ones_own_is_no_missing_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "facedistill.export.nothing", raising=False)
    with pytest.raises(ModuleNotFoundError):
        Target("fake", "Fake", "facedistill.export.nothing", ".f", extra="extra").read_metadata(
            "a.f"
        )


def test_options_are_the_targets_own_less_what_is_stated():
    target = Target("fake", "Fake", "fake", ".fake", defaults=ExportOptions(batch=1))
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
