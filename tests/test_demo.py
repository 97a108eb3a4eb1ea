import json

from facedistill.demo import run_demo


def test_quick_demo_tells_the_whole_story(tmp_path):
    said: list[str] = []
    run_demo(tmp_path / "demo", quick=True, say=said.append)
    table = (tmp_path / "demo" / "table.md").read_text()
    for network in ("teacher", "plain student", "distilled student"):
        assert network in table
    assert "distilled less plain" in table
    assert (tmp_path / "demo" / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "demo" / "runs" / "fcd" / "seed-0" / "model.onnx").exists()
    rows = json.loads((tmp_path / "demo" / "comparison.json").read_text())["rows"]
    assert [row["row"] for row in rows] == ["plain", "fcd", "coupleface", "cakd-third"]
    assert [run["error"] for row in rows for run in row["runs"]] == [None] * 4
    assert all(row["figures"]["unseen"]["accuracy"]["value"] > 0 for row in rows)
    for row in rows:
        assert any(f"| {row['row']} |" in line for line in said)
    assert any("comparison.html" in line for line in said)
    runs = [tmp_path / "demo" / "runs" / row["row"] / "seed-0" for row in rows]
    steps = [json.loads((run / "summary.json").read_text())["steps"] for run in runs]
    assert steps[:3] == [4, 4, 4]
    assert steps[3] in (1, 2)
    assert any("minutes" in line for line in said)
