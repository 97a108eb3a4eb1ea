import inspect
import json
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.evaluation.evaluate import evaluate, open_protocol
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols import base
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.protocols.distractors import DistractorProtocol
from facedistill.evaluation.protocols.ijb_templates import IjbProtocol
from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.report import Report
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.outputs import Outputs
from tests.data.formats.ijb_folder import write_ijb

FACES = "procedural:identities=6,images=3,size=16"


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float())


@dataclass(frozen=True)
class NormReport(Report):
    mean: float

    @property
    def score(self):
        return self.mean

    def line(self):
        return f"{self.name}: mean norm {self.mean:.2f}"

    def to_dict(self):
        return {"name": self.name, "mean": self.mean}


def example():
    """The class that the module's documentation shows."""
    text = inspect.getdoc(base).split("    class MeanNorm")[1].split("\n\nand is")[0]
    names = {**vars(base), "NormReport": NormReport}
    exec(textwrap.dedent(f"    class MeanNorm{text}"), names)
    return names["MeanNorm"]


def test_a_protocol_defined_by_a_user_is_measured_like_all_others():
    protocol = example()(open_dataset(FACES))
    done = evaluate(pixels, protocol, EvaluationOptions(flip=False))
    images = np.stack([protocol.faces[index].image for index in range(18)])
    expected = np.linalg.norm(images.reshape(18, -1).astype(float), axis=1).mean()
    assert done.report.mean == pytest.approx(expected, rel=1e-5)
    assert done.report.title == protocol.faces.name
    assert done.report.thresholds == done.report.figures == {}
    assert done.report.items is done.report.file_thresholds is None
    assert json.loads(json.dumps(done.to_dict()))["mean"] == done.report.score


def test_a_protocol_defined_by_a_user_refuses_what_it_has_not():
    protocol = example()(open_dataset(FACES))
    for options, flags in (
        (EvaluationOptions(fars=(0.1,)), "--far"),
        (EvaluationOptions(mask="one", variants=()), "--mask"),
        (EvaluationOptions.of(kfold="insightface", group_far=0.01), "--protocol, --group-far"),
    ):
        with pytest.raises(FacedistillError, match=f"not for embedding norms: {flags}; leave"):
            evaluate(pixels, protocol, options)
    with pytest.raises(FacedistillError, match="not for embedding norms: --against"):
        evaluate(pixels, protocol, against=pixels)
    with pytest.raises(FacedistillError, match=r"a\.npy: embedding norms need a network"):
        evaluate(StoredEmbeddings("a.npy", np.ones((18, 4))), protocol)


def test_options_without_effect_are_refused():
    protocol = open_protocol(FACES)
    for settings, message in (
        ({"mask_seed": 3}, "--mask-seed has no effect without --mask or --robustness"),
        ({"group_far": 0.01}, "--group-far has no effect without --groups"),
    ):
        with pytest.raises(FacedistillError, match=message):
            protocol.check(EvaluationOptions.of(**settings))
    protocol.check(EvaluationOptions.of(mask="one", mask_seed=3))


def test_what_is_opened_names_its_protocol(tmp_path):
    write_ijb(tmp_path)
    kinds = {
        PairProtocol: open_protocol(FACES),
        AllPairsProtocol: open_protocol(FACES, all_pairs=True),
        DistractorProtocol: open_protocol(FACES, distractors=FACES),
        IjbProtocol: open_protocol(tmp_path),
        LandmarkProtocol: open_protocol(f"{FACES},loose=1"),
    }
    for kind, protocol in kinds.items():
        assert type(protocol) is kind
        assert protocol.name
        # No protocol has all of these.
        options = EvaluationOptions.of(kfold="exact", variants=[], folds=3)
        with pytest.raises(FacedistillError, match=f"not for {protocol.kind}: --"):
            protocol.check(options, ("figures", "against"))
    with pytest.raises(FacedistillError, match="not for landmarks: --all-pairs"):
        open_protocol(f"{FACES},loose=1", all_pairs=True)
    with pytest.raises(FacedistillError, match="not for landmarks: --distractors"):
        open_protocol(f"{FACES},loose=1", distractors=FACES)
