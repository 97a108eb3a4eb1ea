import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from facedistill.distill.objectives.gathering import gathered, mean_of_processes

ROOT = Path(__file__).parents[3]


def test_two_processes_learn_what_one_learns():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                   "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-m", "tests.distill.objectives.gathering_process"]
    processes = [
        subprocess.Popen([*command, rank], cwd=ROOT, env=environment,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        for process in processes:
            out, err = process.communicate(timeout=100)
            assert out == "same\n", err
    finally:
        for process in processes:
            process.kill()


def test_one_process_has_everything():
    rows = torch.randn(3, 2, requires_grad=True)
    labels = torch.arange(3)
    assert gathered(rows, labels)[0] is rows
    assert gathered(rows, labels)[1] is labels
    assert mean_of_processes(rows) is rows
