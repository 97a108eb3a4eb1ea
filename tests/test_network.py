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
import typer

from facedistill.cli.app import app
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
SMALL_DEMO = """
import shutil
from dataclasses import replace
from facedistill.experiments import demo

# As in demo --quick, with fewer faces, one step of each network and one export for all.
demo.QUICK = replace(
    demo.QUICK, identities=14, images=3, test_identities=4, pairs=24,
    teacher_epochs=0.1, student_epochs=0.1,
)
export_network, exported = demo.export_network, []

def export_first(network, path, **options):
    if not exported:
        exported.append(export_network(network, path, **options))
    else:
        shutil.copy(exported[0].path, path)
    return replace(exported[0], path=path)

demo.export_network = export_first
"""
IN_ONE_PROCESS = f"""
import json, sys
from facedistill.cli.app import app
from facedistill.core.imported_modules import import_modules

import_modules(["tests.engine.standin"])
{SMALL_DEMO}
for arguments in json.loads(sys.argv[1]):
    print("$", *arguments, flush=True)
    if code := app(arguments, standalone_mode=False):
        sys.exit(code)
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
PROBED = (
    *("--set", "data.train=procedural:identities=14,images=4,size=16"),
    *("--set", "data.validation_identities=8", "--set", "data.validation_pairs=40"),
    *("--set", "objectives.urfm={centres: 4, width: 16, heads: 2, places: true}"),
    *("--set", "teacher.licence=x"),
)
SUPPORTED = (
    *("--set", "student.network=mobilefacenet", "--set", "student.arguments={width: 0.25}"),
    *("--set", "student.input={size: 32}"),
)
"""A network whose layers ncnn has."""
CONNECTS = {"fetch"}
"""The commands that are there to download."""


def isolated(commands, tmp_path, timeout=400):
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


@pytest.fixture
def commands(tmp_path):
    """Calls of the commands, each on what those before it have written."""
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    model, finder = str(run / "best.safetensors"), str(tmp_path / "finder")
    onnx, xml, gallery = (str(out / f"student.{end}") for end in ("onnx", "xml", "gallery"))
    faces = [str(tmp_path / "people" / name / "0.png") for name in ("one", "other")]
    for identity, path in enumerate(faces):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(encode_png(procedural_face(0, identity, 0, 48)[0]))
    of_gallery = ("--gallery", gallery, "--model", onnx, "--crops")
    commands = [
        ["prepare", FACES, "--pack", "--out", str(out / "faces")],
        ["inspect", str(out / "faces"), "--verify", "--sheet", str(out / "faces.png")],
        ["train", "arcface", *TINY, "--out", str(run)],
        ["probe", "arcface", *TINY, *PROBED, "--set", f"teacher.model={model}"],
        ["centre", model, FACES, "--workers", "1", "--out", str(out / "centred.safetensors")],
        ["export", model, "--out", onnx],
        ["embed", "--teacher", onnx, "--data", FACES, "--out", str(out / "bank"), "--workers", "0"],
        ["evaluate", onnx, FACES, "--all-pairs", "--resamples", "0", "--far", "0.1"],
        ["bench", onnx, "--calls", "1", "--threads", "1", "--batch", "1"],
        ["verify", *faces, "--model", onnx, "--threshold", "0.3"],
        ["enrol", str(tmp_path / "people"), *of_gallery, "--keep-crops"],
        ["identify", faces[0], *of_gallery, "--threshold", "0.3"],
        ["gallery", "list", gallery],
        ["gallery", "reembed", gallery, "--model", onnx],
        ["gallery", "remove", gallery, "other"],
        [
            *("cluster", *faces, "--model", onnx, "--crops", "--threshold", "0.3"),
            *("--out", str(out / "sorted")),
        ],
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
        ["demo", "--quick", "--out", str(out / "demo")],
    ]
    if find_spec("openvino"):
        commands += [
            ["export", model, "--target", "openvino", "--out", xml],
            ["inspect", xml],
        ]
    return commands


def leaves_nothing(commands, tmp_path):
    """Run commands in one process, which connects nowhere and writes nowhere unasked."""
    program = [sys.executable, "-c", IN_ONE_PROCESS, json.dumps(commands)]
    (found,) = isolated([program], tmp_path)
    assert found["code"] == 0, found["output"]
    assert (found["names"], found["connections"], found["packets"]) == ([], [], 0), found
    for folder in ("home", "work"):
        left = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / folder).rglob("*"))
        assert not left, left


def test_every_command_is_run_here_but_the_one_that_downloads(commands):
    every = set(typer.main.get_command(app).commands)
    assert {command for command, *_ in commands} == every - CONNECTS


def test_no_command_leaves_the_machine(commands, tmp_path):
    leaves_nothing(commands, tmp_path)


def test_an_export_to_ncnn_leaves_the_machine_no_more(tmp_path):
    for part in ("ncnn", "pnnx"):
        pytest.importorskip(part, reason="needs the extra ncnn")
    run, model = tmp_path / "run", str(tmp_path / "run" / "best.safetensors")
    ncnn = str(tmp_path / "student.param")
    leaves_nothing(
        [
            ["train", "arcface", *TINY, *SUPPORTED, "--out", str(run)],
            ["export", model, "--target", "ncnn", "--out", ncnn],
        ],
        tmp_path,
    )
