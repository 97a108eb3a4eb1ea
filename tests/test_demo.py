from facedistill.demo import run_demo


def test_quick_demo_tells_the_whole_story(tmp_path):
    said: list[str] = []
    run_demo(tmp_path / "demo", quick=True, say=said.append)
    table = (tmp_path / "demo" / "table.md").read_text()
    for network in ("teacher", "plain student", "distilled student"):
        assert network in table
    assert "distilled less plain" in table
    assert (tmp_path / "demo" / "demo.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "demo" / "distilled" / "model.onnx").exists()
    assert any("minutes" in line for line in said)
