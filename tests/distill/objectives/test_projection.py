import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.projection import linear_projection
from facedistill.distill.objectives.registry import create_objective


def test_equal_dimensions_need_no_map():
    assert isinstance(linear_projection(4, 4), nn.Identity)
    assert isinstance(linear_projection(4, 4, enabled=False), nn.Identity)


def test_the_map_is_linear():
    project = linear_projection(3, 5)
    x = torch.randn(2, 3)
    assert project(x).shape == (2, 5)
    assert torch.allclose(project(2 * x), 2 * project(x), atol=1e-6)
    assert project(torch.zeros(1, 3)).abs().max() == 0


@pytest.mark.parametrize("name", ["fcd", "embedding_mse"])
def test_where_it_is_not_wanted_the_remedy_is_named(name):
    with pytest.raises(
        FacedistillError,
        match=f"'{name}': the student gives 3 .* set projection: true or student.embedding_size: 5",
    ):
        create_objective(name, RunContext(3, 5, 0), projection=False)
