import typer
from typer.testing import CliRunner

from facedistill.cli.command import command_class


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
