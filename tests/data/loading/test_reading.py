import os
import select
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.loading.reading import read_in_order


def fetch(index):
    if index % 5 == 3:
        raise FacedistillError(f"{index} is broken")
    return np.full(2, index)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("count", [0, 1, 70])
def test_results_come_in_order_and_errors_in_their_place(workers, count):
    indices = range(count)[::-1]
    results = list(read_in_order(fetch, indices, workers))
    assert len(results) == count
    for index, result in zip(indices, results, strict=True):
        if index % 5 == 3:
            assert isinstance(result, FacedistillError)
            assert str(result) == f"{index} is broken"
        else:
            np.testing.assert_array_equal(result, fetch(index))


def test_workers_do_the_work():
    pids = set(read_in_order(lambda _: os.getpid(), range(70), 2))
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_many_workers_are_no_cause_for_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # 3 chunks: at most 3 workers start, however many are asked for.
        assert len(list(read_in_order(fetch, range(70), 1000))) == 70


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_draws_nothing_from_torchs_random_numbers(workers):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(read_in_order(fetch, range(5), workers))
    assert torch.equal(torch.rand(3), expected)


READER = """
import os
import numpy as np
from facedistill.data.loading.reading import read_in_order

def large(_):
    return os.getpid(), np.zeros(1 << 20, np.uint8)

for pid, _ in read_in_order(large, range(10_000), 2):
    print(pid, flush=True)
"""


def test_workers_end_with_a_killed_parent():
    command = [sys.executable, "-c", READER]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    workers = {}
    for line in parent.stdout:
        workers.setdefault(int(line), os.pidfd_open(int(line)))
        if len(workers) == 2:
            break
    parent.kill()
    parent.wait()
    for pid, handle in workers.items():
        ended, _, _ = select.select([handle], [], [], 60)
        assert ended, f"worker {pid} outlives its parent"
