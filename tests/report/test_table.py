from facedistill.core.estimate import Estimate
from facedistill.evaluation.statistics.bootstrap import mean_interval
from facedistill.report.table import Column, markdown_table

ROWS = [
    {"method": "fcd", "accuracy": mean_interval([0.90, 0.92, 0.94]), "parameters": 1_200_000},
    {"method": "plain|old", "accuracy": Estimate(0.85, None), "auc": 0.91239, "exact": True},
]
COLUMNS = [
    "method",
    Column("accuracy", digits=2, percent=True),
    "parameters",
    Column("auc", "AUC", digits=3),
    "exact",
]


def test_markdown_has_every_cell():
    # Three seeds: t is 4.303, standard error 2 / sqrt 3.
    assert markdown_table(ROWS, COLUMNS).splitlines() == [
        "| method | accuracy % | parameters | AUC | exact |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| fcd | 92.00 (87.03 to 96.97) | 1,200,000 | - | - |",
        "| plain\\|old | 85.00 | - | 0.912 | yes |",
    ]


def test_markdown_cells_stay_on_one_line():
    table = markdown_table([{"note": "two\nlines"}], ["note"])
    assert table.splitlines() == ["| note |", "| --- |", "| two lines |"]


def test_table_without_rows_is_a_header():
    assert markdown_table([], ["a", "b"]) == "| a | b |\n| --- | --- |"


def test_cells_are_no_html_and_say_nothing_to_a_terminal():
    table = markdown_table([{"a<b": "<script>&amp;\x1b[0m"}], ["a<b"])
    assert table.splitlines()[0] == "| a&lt;b |"
    assert table.splitlines()[2] == r"| &lt;script>&amp;amp;\x1b[0m |"
