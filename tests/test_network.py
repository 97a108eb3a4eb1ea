"""No command asks for a name, opens a connection or leaves a file that was not asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.runtime.image_file import encode_png

HERE = Path(__file__).parent
TINY = (
    *("--set", "data.train=procedural:identities=6,images=4,size=16", "--set", "data.licence=x"),
    *("--set", "student.network=standin", "--set", "student.arguments={}"),
    *("--set", "student.embedding_size=16", "--set", "student.input={size: 16}"),
    *("--set", "data.validation_identities=0"),
    *("--set", "data.workers=0", "--set", "training.batch_size=8", "--set", "training.steps=1"),
)
IN_ONE_PROCESS = """
import json, sys
import tests.engine.standin
from facedistill.cli.app import app

for arguments in json.loads(sys.argv[1]):
    print("$", *arguments, flush=True)
    app(arguments, standalone_mode=False)
"""
LOOSE = "procedural:identities=4,images=3,size=32,loose=1"
MANY = "procedural:identities=16,images=5,size=16"
FINDER = (
    *("--set", f"data.train={LOOSE}", "--set", "data.validation_identities=0"),
    *("--set", "student.network=standin", "--set", "student.arguments={}"),
    *("--set", "student.input={size: 32}", "--set", "data.workers=0"),
    *("--set", "training.batch_size=4", "--set", "training.steps=1"),
)
FACES = "procedural:identities=6,images=4,size=16"


def isolated(commands, tmp_path, timeout=200):
    """Run commands in a namespace without a way out; return what was recorded of each."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "mount"))):
        pytest.skip("a network namespace needs root, unshare, ip and mount")
    if subprocess.run(["unshare", "--net", "--mount", "true"], check=False).returncode:
        pytest.skip("no network namespace can be made here")
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    environment = {
        **{key: value for key, value in os.environ.items() if "TELEMETRY" not in key},
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
        "CI": "",
    }
    subprocess.run(
        [
            *("unshare", "--net", "--mount", sys.executable, str(HERE / "isolated_network.py")),
            *(str(tmp_path / "record.json"), str(tmp_path / "commands.json")),
        ],
        env=environment,
        cwd=work,
        check=True,
        timeout=timeout,
    )
    return json.loads((tmp_path / "record.json").read_text())


def test_the_record_shows_a_program_that_leaves_the_machine(tmp_path):
    """Or the other test could not fail."""
    program = "import socket; socket.create_connection(('telemetry.example', 443)).close()"
    packet = "import socket; socket.socket(2, 2).sendto(b'x', ('198.51.100.1', 9))"
    by_name, by_address = isolated([[sys.executable, "-c", p] for p in (program, packet)], tmp_path)
    assert by_name["names"] == ["telemetry.example"]
    assert by_name["connections"] == ["port 443"]
    assert by_address["packets"] > 0


def test_no_command_leaves_the_machine(tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    model = str(run / "best.safetensors")
    finder = str(tmp_path / "finder")
    onnx, xml = str(out / "student.onnx"), str(out / "student.xml")
    faces = [str(tmp_path / name) for name in ("one.png", "other.png")]
    for photo, path in enumerate(faces):
        Path(path).write_bytes(encode_png(procedural_face(0, 0, photo, 48)[0]))
    commands = [
        ["prepare", FACES, "--pack", "--out", str(out / "faces")],
        ["inspect", str(out / "faces"), "--verify", "--sheet", str(out / "faces.png")],
        ["train", "arcface", *TINY, "--out", str(run)],
        ["export", model, "--out", onnx],
        ["embed", "--teacher", onnx, "--data", FACES, "--out", str(out / "bank"), "--workers", "0"],
        ["evaluate", onnx, FACES, "--all-pairs", "--resamples", "0", "--far", "0.1"],
        ["bench", onnx, "--calls", "1", "--threads", "1", "--batch", "1"],
        ["verify", *faces, "--model", onnx, "--threshold", "0.3"],
        ["list", "recipes"],
        ["train", "landmarks", *FINDER, "--out", finder],
        ["export", f"{finder}/best.safetensors", "--out", str(out / "finder.onnx")],
        [
            *("prepare", LOOSE, "--align", "--model", str(out / "finder.onnx"), "--workers", "0"),
            *("--out", str(out / "aligned")),
        ],
        [
            *("export", model, "--target", "onnx-int8", "--data", MANY, "--calibration", "32"),
            *("--out", str(out / "int8.onnx")),
        ],
        [
            *("compare", "arcface", "--seeds", "0", "--jobs", "1", *TINY),
            *("--pairs", f"own={FACES}", "--out", str(out / "table")),
        ],
        ["distill", "fcd", *TINY, "--set", f"teacher.bank={out / 'bank'}", "--out", str(out / "r")],
    ]
    if find_spec("openvino"):
        commands += [
            ["export", model, "--target", "openvino", "--out", xml],
            ["inspect", xml],
        ]
    program = [sys.executable, "-c", IN_ONE_PROCESS, json.dumps(commands)]
    (found,) = isolated([program], tmp_path)
    assert found["code"] == 0, found["output"]
    assert (found["names"], found["connections"], found["packets"]) == ([], [], 0), found
    for folder in ("home", "work"):
        left = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / folder).rglob("*"))
        assert not left, left
