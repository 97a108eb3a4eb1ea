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


@pytest.fixture
def measured(result, tmp_path, monkeypatch):
    """A study with a result, and a page that shows it."""
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result))
    monkeypatch.setattr(page.Study, "result_path", path)
    monkeypatch.setattr(page.Study, "planned_seeds", 4)
    monkeypatch.setattr(page.Study, "load", lambda name: STUDY)
    return "Before.\n\n<!-- study made_up -->\nstale rows\n<!-- end of study -->\n\nAfter.\n"


def test_a_page_has_the_tables_of_the_studies_that_it_names(measured):
    filled = page.filled(measured)
    assert filled.startswith("Before.\n\n<!-- study made_up -->\n\nSeeds 0, 1, 2, 3; mean and 95 %")
    assert "| with_it - without | +4.00 (+2.70 to +5.30)" in filled
    assert "(figures/study_made_up.png)" in filled
    assert filled.endswith("\n<!-- end of study -->\n\nAfter.\n")
    assert "stale rows" not in filled
    assert page.filled(filled) == filled


def test_seeds_that_are_missing_are_said(measured, result, monkeypatch):
    assert "planned" not in page.seeds_line(STUDY, result["runs"])
    monkeypatch.setattr(page.Study, "planned_seeds", 9)
    assert page.seeds_line(STUDY, result["runs"]).endswith("Of 9 seeds planned these are finished.")


def test_a_page_without_studies_stays_as_it_is():
    assert page.filled("No study.\n") == "No study.\n"


def test_a_study_without_a_result_is_said_to_have_none(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(page.Study, "result_path", tmp_path / "none.json")
    assert "\nNo seed is finished yet; 4 are planned.\n" in page.filled(measured)
