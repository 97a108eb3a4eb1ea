from pathlib import Path

import pytest
import yaml
from studies.study import FOLDER, Study, studies

from facedistill.recipe.comparison import load_comparison, plan


@pytest.mark.parametrize("name", studies())
def test_the_arms_of_a_study_are_rows_of_its_comparison(name):
    comparison = load_comparison([str(FOLDER / name / "comparison.yaml")])
    trials = plan(comparison, Path("runs"))
    assert set(Study.load(name).arms) <= {trial.row for trial in trials}
    assert (FOLDER / name / "design.md").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("contrasts", [["b", "a+centred"]], "contrasts name 'b', which is no arm"),
        ("primary", "speed", "'speed' is not in measures"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(key, value, message, tmp_path):
    values = {
        "question": "?",
        "arms": {"a": "arm"},
        "primary": "accuracy",
        "measures": ["accuracy"],
        "contrasts": [["a", "a+centred"]],
        "validation_identities": 2,
        "network": "none",
    }
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "study.yaml").write_text(yaml.safe_dump(values | {key: value}))
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        Study.load("own", tmp_path)
