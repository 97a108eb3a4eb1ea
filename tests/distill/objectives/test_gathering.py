import torch

from facedistill.distill.objectives.gathering import gathered, mean_of_processes
from tests import child_process
from tests.distill.objectives.gathering_process import learn_together


def test_two_processes_learn_what_one_learns():
    for ended in child_process.run_ranks(learn_together):
        assert ended.out == "same\n", ended.err


def test_one_process_has_everything():
    rows = torch.randn(3, 2, requires_grad=True)
    labels = torch.arange(3)
    assert gathered(rows, labels)[0] is rows
    assert gathered(rows, labels)[1] is labels
    assert mean_of_processes(rows) is rows
