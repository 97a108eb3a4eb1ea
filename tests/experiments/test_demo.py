import json
import shutil
from dataclasses import replace

from typer.testing import CliRunner

from facedistill.cli.app import app
from facedistill.evaluation.statistics.table_rows import Row, RunResult
from facedistill.experiments import demo
from facedistill.experiments.demo import run_demo
from facedistill.recipe.comparison import Comparison


def test_quick_demo_makes_table_figure_and_files(tmp_path, monkeypatch):
    export, exported = demo.export_network, []

    def export_first(network, path, **options):
        """Export the first network; its file stands for the others', to save time."""
        if not exported:
            exported.append(export(network, path, **options))
        else:
            shutil.copy(exported[0].path, path)
        return replace(exported[0], path=path)

    monkeypatch.setattr(demo, "export_network", export_first)
    lines: list[str] = []
    assert run_demo(tmp_path / "demo", quick=True, say=lines.append)
    table = (tmp_path / "demo" / "table.md").read_text()
    for network in ("teacher", "plain student", "distilled student"):
        assert network in table
    assert "distilled less plain" in table
    assert (tmp_path / "demo" / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "demo" / "runs" / "fcd" / "seed-0" / "model.onnx").exists()
    rows = json.loads((tmp_path / "demo" / "comparison.json").read_text())["rows"]
    assert [row["row"] for row in rows] == ["plain", "fcd", "coupleface", "cakd", "transfer"]
    assert [run["error"] for row in rows for run in row["runs"]] == [None] * 5
    assert all(row["figures"]["unseen"]["accuracy"]["value"] > 0 for row in rows)
    for row in rows:
        assert any(f"| {row['row']} |" in line for line in lines)
    assert any("comparison.html" in line for line in lines)
    runs = [tmp_path / "demo" / "runs" / row["row"] / "seed-0" for row in rows]
    steps = [json.loads((run / "summary.json").read_text())["steps"] for run in runs]
    assert steps == [4] * 5  # all train alike
    assert len(list((tmp_path / "demo" / "bank").glob("*-mapping-*.safetensors"))) == 1
    assert any("minutes" in line for line in lines)


def test_a_crashed_row_is_reported_and_ends_with_an_error(tmp_path, monkeypatch):
    row = Row("fcd", "name: fcd", [RunResult(0, "no bank")])
    monkeypatch.setattr(demo, "run_comparison", lambda *_, **__: [row])
    pairs = tmp_path / "unseen.bin"
    pairs.touch()
    comparison = Comparison(rows={"fcd": "fcd"}, evaluation={"unseen": str(pairs)})
    lines: list[str] = []
    assert not demo._compare(comparison, tmp_path, None, lines.append)
    assert "fcd, seed 0: crashed: no bank" in lines[0]
    monkeypatch.setattr(demo, "run_demo", lambda *_, **__: False)
    assert CliRunner().invoke(app, ["demo", "--out", str(tmp_path)]).exit_code == 1
