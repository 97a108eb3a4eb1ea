import json

from tests.cli.calling import call


def test_bench_says_what_it_measured_on_what(story):
    arguments = ("bench", story / "student.onnx", "--threads", 1, "--batch", 2, "--calls", 3)
    document = json.loads(call(*arguments, "--json"))
    (row,) = document["rows"]
    assert (row["model"], row["engine"]) == ("student.onnx", "ONNX Runtime")
    assert (row["threads"], row["batch"], document["calls"]) == (1, 2, 3)
    assert row["file_bytes"] == (story / "student.onnx").stat().st_size
    assert 0 < row["median_milliseconds"]["value"] <= row["p95_milliseconds"]
    assert document["machine"]["versions"]["onnxruntime"]
