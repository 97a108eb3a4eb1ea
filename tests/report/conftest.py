import pytest

from facedistill.data.pairs.group_table import read_groups
from facedistill.evaluation.evaluate import open_protocol
from facedistill.report.documents.evaluation_report import write_report
from tests.report.evaluations import FARS, SPEC, evaluate, ijb_folder, noisy, pixels


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """One evaluation of every kind, what it was measured on, and the report of them all."""
    folder = tmp_path_factory.mktemp("report")
    table = folder / "groups.csv"
    # Names of groups must be escaped as file names are.
    table.write_text("identity,parity\n" + "".join(f"{i},<{i % 2}>\n" for i in range(14)))
    pairs = open_protocol(SPEC)
    whole = open_protocol(SPEC, all_pairs=True)
    among = open_protocol(SPEC, distractors="procedural:identities=20,images=1,size=40,seed=1")
    files, stored = ijb_folder(folder / "ijb")
    settings = {"fars": FARS, "resamples": 30, "flip": False}
    groups = {"groups": read_groups(table), "group_far": 0.1}
    done = {
        "pairs": (
            evaluate(pixels, pairs, against=noisy, robustness="one", **groups, **settings),
            pairs,
        ),
        "masked": (evaluate(pixels, pairs, mask="one", mask_seed=5, **settings), pairs),
        "all": (evaluate(pixels, whole, mask="one", mask_seed=5, **settings), whole),
        "among": (evaluate(pixels, among, resamples=30, flip=False), among),
        "ijb": (evaluate(stored, files, resamples=30), files),
        "unseen": (evaluate(pixels, pairs, fars=(1e-6,), resamples=0), None),
    }
    evaluations, protocols = zip(*done.values(), strict=True)
    out = folder / "out" / "report"
    written = write_report(
        out, evaluations, protocols, subject="<b>student</b>.onnx", facts={"input": "a & b"},
        mask_seed=5,
    )  # fmt: skip
    return done, out, written
