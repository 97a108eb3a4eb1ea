import ast
import os
import socket
import stat
from pathlib import Path

import pytest

import facedistill
from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import (
    append_regular,
    open_regular,
    read_regular,
    read_regular_text,
    require_regular,
)

SOURCES = Path(facedistill.__file__).parent


@pytest.mark.parametrize(
    "read", [read_regular, require_regular, open_regular, read_regular_text, append_regular]
)
def test_only_regular_files_are_opened(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        kinds = {"pipe": "a pipe", "device": "a device", "socket": "a socket", ".": "a folder"}
        for name, kind in kinds.items():
            with pytest.raises(FacedistillError, match=f"^{name} is {kind}, not a file"):
                read(name)
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)  # noqa: PTH116


def test_files_and_links_to_them_are_read(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to("file")
    with append_regular(link) as opened:
        opened.write("con")
    with append_regular(file) as opened:
        opened.write("tent")
    assert read_regular(file) == read_regular(link, 7) == b"content"
    assert read_regular_text(link) == "content"
    with open_regular(link) as opened:
        assert opened.read() == b"content"
    require_regular(link)


def test_what_cannot_be_read_is_named(tmp_path):
    require_regular(tmp_path / "none")
    for path in (tmp_path / "none", f"{tmp_path}/{300 * 'x'}", f"{tmp_path}/a\0b"):
        require_regular(path)
        with pytest.raises(FacedistillError, match="cannot read"):
            read_regular(path)
    for read in (open_regular, read_regular_text):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(FacedistillError, match="has 7 bytes, at most 6 are read"):
        read_regular(tmp_path / "file", 6)
    (tmp_path / "file").write_bytes(b"a\xff")
    assert read_regular_text(tmp_path / "file", "replace") == "a\ufffd"


OPENED = {"file", "copy", "archive"}
"""What a file is called that was opened by the functions of `regular_files`."""

OTHERWISE = {
    "cli/compare.py": "reads back what the command wrote",
    "core/atomic.py": "files under way, of this package alone",
    "core/process.py": "what the system says of its memory",
    "core/registered_names.py": "sources of the package",
    "core/regular_files.py": "the door itself",
    "data/loading/result_transport.py": "anonymous memory",
    "experiments/photos/journal.py": "a folder, to lock it",
    "export/bench/bench_process.py": "what the system says of a process",
    "export/bench/machine.py": "what the system says of its processor",
    "export/int8/calibration.py": "bytes in memory",
    "export/targets/litert/litert_file.py": "appends to the file that it has just made",
    "export/targets/ncnn/ncnn_file.py": "what the converter has just made; ncnn takes a path",
    "export/targets/onnx_int8/int8_file.py": "what the export has just made",
    "export/targets/openvino/openvino_file.py": "OpenVINO takes paths",
    "models/onnx/own_normalisation.py": "bytes in memory",
    "recipe/loading.py": "recipes of the package",
    "runtime/detection.py": "OpenCV takes a path",
    "runtime/file_digest.py": "fills in the digest of the file that was just made",
    "runtime/gallery/int8_product.py": "bytes in memory",
    "runtime/session.py": "ONNX Runtime takes a path, for what lies beside the file",
}
"""Files with calls that open something else than what a user names, or after a look at it."""

LOADERS = {
    *("np.load", "torch.load", "onnx.load", "ElementTree.parse", "os.open", "mmap.mmap"),
    "safe_open",
}
READERS = {
    *("read_text", "read_bytes", "imread", "memmap", "open_memmap", "fromfile", "loadtxt"),
    *("genfromtxt", "load_file", "InferenceSession", "read_model", "load_param"),
    *("ZipFile", "FaceDetectorYN"),
}


def opens_to_read(call: ast.Call) -> bool:
    """Whether a call opens a file by its name, not to write it."""
    name = ast.unparse(call.func)
    *owner, last = name.split(".")
    given = [*call.args, *(each.value for each in call.keywords)]
    if given and isinstance(given[0], ast.Name) and given[0].id in OPENED:
        return False
    constants = [each.value for each in given if isinstance(each, ast.Constant)]
    if name == "open" or (last == "open" and len(constants) == len(given)):
        return not any(isinstance(mode, str) and set(mode) & set("wax") for mode in constants)
    return name in LOADERS or bool(owner and {*owner, last} & READERS)


def test_the_package_opens_what_it_is_given_by_these_functions():
    """Or a pipe in place of a file would be waited for."""
    found = {}
    for path in SOURCES.rglob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        opening = [f"{call.lineno}: {ast.unparse(call)}" for call in calls if opens_to_read(call)]
        if opening:
            found[str(path.relative_to(SOURCES))] = opening
    assert {name: found[name] for name in found.keys() - OTHERWISE.keys()} == {}
    assert OTHERWISE.keys() - found.keys() == set(), "these open nothing any more"


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "path.read_text()",
        "np.load(path)",
        "os.open(path, os.O_RDONLY)",
        "safe_open(path, 'pt')",
        "zipfile.ZipFile(path)",
    ],
)
def test_the_search_finds_what_opens_a_file(line):
    (call,) = (node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call))
    assert opens_to_read(call)
