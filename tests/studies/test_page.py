import copy
import dataclasses
import json

import pytest
from studies.claims import claims

from studies import page
from tests.studies.figures import STUDY, made_up_runs


@pytest.fixture
def result():
    runs = made_up_runs()
    return {"runs": runs, "claims": claims(STUDY, runs)}


def test_the_arms_have_their_mean_over_the_seeds_that_all_have(result):
    lines = page.arms_table(STUDY, result["runs"]).splitlines()
    assert lines[0].startswith("| arm | test TAR@1e-3 % |")
    # 20, 21, 22, 23; the fifth seed of `with_it` is left out.
    assert lines[2].startswith("| nothing | 21.50 (")
    assert lines[3].startswith("| nothing, centred | 22.50 (")
    assert lines[4].startswith("| the thing | 25.50 (")
    assert len(lines) == 5


def test_the_differences_stand_with_the_least_that_is_told(result):
    lines = page.claims_table(STUDY, result["claims"]).splitlines()
    told = result["claims"][0]["least_difference_told"]
    assert lines[2].startswith("| with_it - without | +4.00 (+2.70 to +5.30) | -4.00 (")
    assert lines[2].endswith(f"| {told:.2f} |")


def test_the_figure_has_a_row_for_each_contrast(result):
    axes = page.draw_claims(STUDY, result["claims"]).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["with_it - without", "without+centred - without"]


def test_claims_that_do_not_follow_from_the_figures_are_found(result, tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    monkeypatch.setattr(page.Study, "result_path", path)
    study = dataclasses.replace(STUDY)
    path.write_text(json.dumps(result))
    assert not page.stale_claims(study)
    changed = copy.deepcopy(result)
    changed["runs"]["with_it"]["2"]["test TAR@1e-3"] += 0.1
    path.write_text(json.dumps(changed))
    assert page.stale_claims(study)
