import ast
import doctest
import sys
from pathlib import Path

import pytest

from facedistill.distill.objectives import base
from facedistill.distill.objectives.base import Classifier
from facedistill.distill.objectives.registry import create_objective, objectives
from tests.distill.objectives.contexts import everything

CONTEXT = everything(4, 4, 3)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(objectives, "_entries", dict(objectives._entries))
    return objectives


def test_only_classifiers_give_logits():
    assert isinstance(create_objective("margin_softmax", CONTEXT), Classifier)
    assert not isinstance(create_objective("fcd", CONTEXT), Classifier)


def test_the_example_of_the_contract_runs(registry):
    assert doctest.testmod(base).failed == 0


def test_the_contract_imports_torch_and_what_it_speaks_of_alone():
    allowed = {"torch", "facedistill.data.batch", "facedistill.models.outputs"}
    tree = ast.parse(Path(base.__file__).read_text())
    found = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    found |= {
        name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names
    }
    assert {name for name in found if name.split(".")[0] not in sys.stdlib_module_names} == allowed
