import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from facedistill.cli.command import command_class
from facedistill.core.errors import FacedistillError


def test_the_home_folder_is_expanded_where_the_shell_does_not(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    app = typer.Typer()

    @app.command(cls=command_class(["run --data=~/x"]))
    def run(data: str = "", text: str = "") -> None:
        print(data, text)

    assert CliRunner().invoke(app, ["--data=~/x", "--text=a~"]).output.split() == [
        *("/home/me/x", "a~")
    ]
    assert CliRunner().invoke(app, ["--help"]).output.endswith("Examples:\n  run --data=~/x\n")


def test_devices_in_place_of_files_are_refused_before_anything_is_opened(tmp_path):
    app = typer.Typer()

    @app.command(cls=command_class(["run x"]))
    def run(sources: list[str], out: Path | None = None) -> None:
        print("ran")

    os.mkfifo(tmp_path / "pipe")
    fine = ["procedural:identities=2", str(tmp_path), str(tmp_path / "none")]
    assert CliRunner().invoke(app, fine).output == "ran\n"
    for words in ([*fine, str(tmp_path / "pipe")], [*fine, "--out", "/dev/zero"]):
        with pytest.raises(FacedistillError, match=r"is a (pipe|device), not a file"):
            CliRunner().invoke(app, words, catch_exceptions=False)
