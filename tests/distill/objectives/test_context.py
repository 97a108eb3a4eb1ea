import doctest

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives import context as room
from facedistill.distill.objectives.context import NEEDS, RunContext


def test_its_examples():
    assert doctest.testmod(room).failed == 0


def test_a_value_is_made_once_and_when_it_is_asked_for():
    made = []

    def neighbours(count):
        made.append(count)
        return torch.arange(count)

    context = RunContext(4, 4, 3, {"run.neighbours": neighbours})
    assert made == []
    one, other = context.asked_by("rad"), context.asked_by("own")
    assert one.neighbours(2) is other.neighbours(2)
    assert len(one.neighbours(3)) == 3
    assert made == [2, 3]
    assert one.asked == {"run.neighbours"}
    assert context.asked == set()


@pytest.mark.parametrize("need", sorted(set(NEEDS) - {"run.identities"}))
def test_what_a_run_lacks_is_named_with_the_objective(need):
    for context in (RunContext(4, 4, 3), RunContext(4, 4, 3, {need: lambda *_: None})):
        assert context.find(need) is None
        with pytest.raises(FacedistillError, match=r"^objective 'own' \w+"):
            context.asked_by("own").get(need)


def test_an_unknown_need_names_the_known_ones():
    with pytest.raises(FacedistillError, match=r"'run\.neighbors'.*did you mean 'run\.neighbours'"):
        RunContext(4, 4, 3, {"run.neighbors": lambda: None})
    with pytest.raises(FacedistillError, match="unknown need 'zzz' of an objective: known: run"):
        RunContext(4).find("zzz")
