import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.contexts import outputs_asked
from tests.distill.objectives.landmarks.landmark_batches import SETTING, batch, points


def test_the_teachers_landmarks_count_as_labels_do():
    student, wanted = Outputs(landmarks=points(seed=1)), points()
    by_labels = create_objective("landmark_regression", SETTING)
    by_teacher = create_objective("landmark_imitation", SETTING)
    assert outputs_asked(by_labels) == {"student.landmarks", "batch.landmarks"}
    assert outputs_asked(by_teacher) == {"student.landmarks", "teacher.landmarks"}
    loss, parts = by_labels(student, Outputs(), batch(wanted))
    other, _ = by_teacher(student, Outputs(landmarks=wanted), batch(None))
    difference = points(seed=1) - wanted
    torch.testing.assert_close(loss, 0.5 * difference.square().sum() / 4)
    torch.testing.assert_close(loss, other)
    torch.testing.assert_close(parts["distance"], difference.norm(dim=2).mean())


def test_needs_a_teacher():
    with pytest.raises(FacedistillError, match="'landmark_imitation' needs a teacher"):
        create_objective("landmark_imitation", RunContext(8, None, 0))
