import inspect
import re
import subprocess
import sys
from textwrap import dedent

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import (
    create_objective,
    objective,
    objective_names,
    objectives,
)
from facedistill.recipe.objective_recipe import ObjectiveRecipe
from tests.distill.objectives.contexts import everything

CONTEXT = everything(4, 4, 3)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(objectives, "_entries", dict(objectives._entries))
    return objectives


def test_every_method_of_the_room_is_registered_under_its_own_name():
    names = objective_names()
    assert names == sorted(names)
    assert {"embedding_mse", "fcd", "kd", "margin_softmax", "mrd", "rad"} <= set(names)
    for name in names:
        made = create_objective(name, CONTEXT)
        assert made.name == name
        assert isinstance(made, Objective)
        assert made.needs
        assert all(
            need.split(".")[0] in ("student", "teacher", "batch", "run") for need in made.needs
        )


def test_no_objectives_option_is_hidden_by_a_key_of_every_objective():
    assert len(objective_names()) > 20
    for name in objective_names():
        options = set(inspect.signature(objectives.get(name)).parameters)
        assert not options & set(ObjectiveRecipe.model_fields), name


@pytest.mark.parametrize(
    ("name", "hint"), [("fdc", "did you mean 'fcd'"), ("qqqqqq", "known: adadistill, arcdistill")]
)
def test_an_unknown_name_names_the_nearest(name, hint):
    with pytest.raises(FacedistillError, match=f"unknown objective '{name}': {hint}"):
        create_objective(name, CONTEXT)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(
        FacedistillError,
        match="unknown option 'normalize' of objective 'embedding_mse': did you mean 'normalise'",
    ):
        create_objective("embedding_mse", CONTEXT, normalize=True)


def test_an_unknown_option_of_a_head_is_named():
    with pytest.raises(FacedistillError, match="'sclae'"):
        create_objective("margin_softmax", CONTEXT, sclae=32)
    with pytest.raises(FacedistillError, match="did you mean 'arcface'"):
        create_objective("margin_softmax", CONTEXT, head="arcfaec")


def test_a_value_out_of_range_is_one_line():
    with pytest.raises(FacedistillError, match=r"objective 'kd': tau is -1"):
        create_objective("kd", CONTEXT, tau=-1)
    with pytest.raises(FacedistillError, match="objective 'kd'"):
        create_objective("kd", CONTEXT, tau="warm")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fcd", {"projection": "false"}, "projection is 'false', it must be true or false"),
        ("fcd", {"projection": 1}, "projection is 1, it must be true or false"),
        ("kd", {"tau": True}, "tau is True, it must be a number"),
        ("kd", {"tau": "4"}, "tau is '4', it must be a number"),
        ("cckd", {"order": 2.0}, "order is 2.0, it must be a whole number"),
        ("cckd", {"order": True}, "order is True, it must be a whole number"),
        ("at", {"stages": "3"}, "stages is '3', it must be a whole number"),
        ("sp", {"layer": "maps"}, "layer is 'maps', it must be one of embedding, map"),
        ("margin_softmax", {"head": 3}, "head is 3, it must be text"),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_it_must_be(name, options, message):
    with pytest.raises(FacedistillError, match=re.escape(f"objective '{name}': {message}")):
        create_objective(name, CONTEXT, **options)


def test_registering_twice_is_a_mistake_of_the_programmer(registry):
    @objective("once")
    class Once(Objective):
        needs = frozenset({"student.embedding"})

        def forward(self, student, teacher, batch):
            return torch.zeros(()), {}

    assert registry.get("once") is Once
    with pytest.raises(ValueError, match="two objectives are named 'once'"):
        objective("once")(type("Another", (Once,), {}))


def test_a_new_file_in_the_room_registers_itself(tmp_path):
    (tmp_path / "brand_new.py").write_text(
        dedent("""
            from facedistill.distill.objectives.base import Objective
            from facedistill.distill.objectives.registry import objective

            @objective("brand_new")
            class BrandNew(Objective):
                needs = frozenset({"student.embedding"})

                def __init__(self, context, *, power=1.0):
                    super().__init__()
                    self.power = power

                def forward(self, student, teacher, batch):
                    return (student.embedding ** self.power).mean(), {}
        """)
    )
    program = dedent("""
        import sys
        import facedistill.distill.objectives
        facedistill.distill.objectives.__path__.append(sys.argv[1])
        from facedistill.distill.objectives.context import RunContext
        from facedistill.distill.objectives.registry import create_objective, objective_names
        made = create_objective("brand_new", RunContext(4, None, 0), power=3)
        print(made.power, "brand_new" in objective_names())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", "True"]


@pytest.mark.parametrize("name", ["fcd", "embedding_mse", "kd"])
def test_without_a_teacher_is_refused(name):
    with pytest.raises(FacedistillError, match=f"'{name}' needs a teacher: give teacher.bank"):
        create_objective(name, RunContext(student_size=4, teacher_size=None, identities=3))


@pytest.mark.parametrize("name", ["margin_softmax", "kd"])
def test_without_labels_is_refused(name):
    with pytest.raises(FacedistillError, match=f"'{name}' needs labels"):
        create_objective(name, RunContext(student_size=4, teacher_size=4, identities=0))


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"student.embeding"}, r"'student\.embeding'.*did you mean 'student\.embedding'"),
        ({"run.neighbors"}, r"did you mean 'run\.neighbours'"),
        ({"student.embedding"}, "asks for run.identities and does not say so"),
    ],
)
def test_needs_must_be_known_and_stated(registry, needs, reason):
    @objective("needy")
    class Needy(Objective):
        def __init__(self, context):
            super().__init__()
            self.needs = frozenset(needs)
            context.require_identities()

        def forward(self, student, teacher, batch):
            return torch.zeros(()), {}

    with pytest.raises(FacedistillError, match=reason):
        create_objective("needy", CONTEXT)
