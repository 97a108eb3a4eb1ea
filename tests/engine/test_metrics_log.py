import json

import pytest
import torch

from facedistill.engine.metrics_log import Averages, MetricsLog, read_metrics


def test_averages_are_weighted_means_and_start_over_when_taken():
    means = Averages()
    means.add({"loss": torch.tensor(1.0), "part": torch.tensor(5.0)}, 0.25)
    means.add({"loss": torch.tensor(3.0)}, 0.75)
    means.add({"loss": torch.tensor(2.0)})
    assert means.take() == {"loss": pytest.approx(2.25), "part": 5.0}
    assert means.take() == {}


def test_averages_go_on_from_their_state():
    one, other = Averages(), Averages()
    one.add({"loss": torch.tensor(1.0)})
    other.load_state_dict(one.state_dict(), torch.device("cpu"))
    for means in (one, other):
        means.add({"loss": torch.tensor(4.0)})
    assert one.take() == other.take() == {"loss": 2.5}


def test_processes_share_their_averages():
    means = Averages()
    means.share(lambda values: values)  # nothing yet
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    means.share(lambda values: values * 10)
    assert means.take() == {"a": 10.0, "b": 20.0}


def test_a_log_that_goes_on_forgets_what_came_after_and_what_was_cut_off(tmp_path):
    log = MetricsLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step, {"loss": 0.1 * step})
    log.close()
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')
    again = MetricsLog(tmp_path, 2)
    again.write(3, {"loss": 7.0})
    again.close()
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert lines == [
        {"step": 1, "loss": 0.1},
        {"step": 2, "loss": 0.2},
        {"step": 3, "loss": 7.0},
    ]


@pytest.mark.parametrize("tail", [b"5\n", b"{}\n", b"\xff\xfe\n", b'{"step": "x"}\n', b"[1"])
def test_reading_stops_at_the_first_damaged_line(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + tail + b'{"step": 2}\n')
    assert read_metrics(path) == [{"step": 1}]


def test_no_file_is_no_record(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    log = MetricsLog(tmp_path, 0, tensorboard=True)
    log.write(1, {"loss": 0.5})
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()
