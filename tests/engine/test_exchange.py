import json

import torch
from accelerate import Accelerator

from facedistill.engine.exchange import gather_rows
from tests import child_process


def gather_unlike_numbers():
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    rows = torch.arange(4 + 2 * rank).view(-1, 2) + 10 * rank
    found = [gather_rows(accelerator, part).tolist() for part in (rows, rows[:, 0], rows.double())]
    print("FOUND" + json.dumps(found))
    accelerator.end_training()


def test_processes_with_unlike_numbers_of_rows_gather_them_in_order():
    rows = [[0, 1], [2, 3], [10, 11], [12, 13], [14, 15]]
    for ended in child_process.run_ranks(gather_unlike_numbers):
        assert ended.code == 0, ended.err
        found = json.loads(ended.out.rpartition("FOUND")[2])
        assert found == [rows, [row[0] for row in rows], rows]
