import pytest
import torch
from torch import nn
from torch.nn import functional as F

from facedistill.engine.optimizer import create_optimizer

STEPS = [[0, 2, 2], [2, 5], [0, 5, 3]]


def table():
    module = nn.Module()
    module.weight = nn.Parameter(torch.arange(1.0, 13.0).reshape(6, 2) / 10)
    return module


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_drawn_rows_step_as_if_they_were_alone_and_others_rest(kind):
    """Each row is compared with a parameter of its own, given a gradient only when it is drawn."""
    options = {"lr": 0.1, "weight_decay": 0.1, "decay_all": True}
    module, alone = table(), nn.ParameterList(nn.Parameter(row) for row in table().weight.data)
    optimizer, others = (create_optimizer(each, kind, **options) for each in (module, alone))
    for step, rows in enumerate(STEPS, start=1):
        index = torch.tensor(rows)
        (F.embedding(index, module.weight, sparse=True) ** 2).sum().backward()
        for row in rows:
            (alone[row] ** 2).sum().backward()
        # AdamW counts the steps of all rows together.
        for row in set(rows) if kind == "adamw" else ():
            state = others.state[alone[row]]
            if not state:
                zeros = torch.zeros_like(alone[row])
                state.update(exp_avg=zeros.clone(), exp_avg_sq=zeros.clone())
            state["step"] = torch.tensor(float(step - 1))
        optimizer.step()
        others.step()
        optimizer.zero_grad()
        others.zero_grad()
        torch.testing.assert_close(module.weight.data, torch.stack([row.data for row in alone]))
    assert torch.equal(module.weight.data[[1, 4]], table().weight.data[[1, 4]])
    state = optimizer.state_dict()["state"][0]
    kept = [value for value in state.values() if torch.is_tensor(value) and value.ndim]
    assert kept
    assert all(value.shape == (6, 2) for value in kept)
    assert all((value[[1, 4]] == 0).all() and (value[[0, 2, 3, 5]] != 0).all() for value in kept)
