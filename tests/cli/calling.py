"""The command line, called in this process on tiny procedural faces."""

import shlex

import typer
from typer.testing import CliRunner

from facedistill.cli.app import app
from tests.engine import standin  # noqa: F401 - registers a tiny network

FACES = "procedural:identities=12,images=4,size=32"
LOOSE = "procedural:identities=6,images=3,size=32,loose=1"
TINY = [
    "student.network=standin",
    "student.arguments={}",
    "student.input.size=32",
    "student.embedding_size=16",
    "data.validation_identities=4",
    "data.validation_pairs=20",
    "data.workers=0",
    "training.steps=2",
    "training.batch_size=8",
]


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def settings(*more: str) -> list[str]:
    return [word for setting in (*TINY, *more) for word in ("--set", setting)]


def assert_next(output: str) -> None:
    """Check that a command's last line is a command to type next."""
    first, program, command, *words = shlex.split(output.strip().splitlines()[-1])
    assert (first, program) == ("next:", "facedistill")
    typer.main.get_command(app).commands[command].make_context(command, words)
