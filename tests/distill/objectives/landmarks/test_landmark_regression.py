import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.landmarks.landmark_batches import SETTING, batch, points


@pytest.mark.parametrize("form", ["squared", "smooth_l1", "wing"])
def test_gradient_leads_to_the_labels(form):
    objective = create_objective("landmark_regression", SETTING, form=form)
    found = points(seed=1).requires_grad_()
    optimiser = torch.optim.Adam([found], lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        loss, _ = objective(Outputs(landmarks=found), Outputs(), batch(points()))
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(found.detach(), points(), rtol=0, atol=0.01)


def test_what_cannot_be_compared_is_refused():
    objective = create_objective("landmark_regression", SETTING)
    with pytest.raises(FacedistillError, match=r"gives 68 landmarks .* student\.landmarks: 5"):
        objective(Outputs(landmarks=points(number=68)), Outputs(), batch(points()))
    with pytest.raises(FacedistillError, match="needs data with landmarks"):
        objective(Outputs(landmarks=points()), Outputs(), batch(None))
    with pytest.raises(
        FacedistillError, match="form is 'l2', it must be one of squared, smooth_l1, wing"
    ):
        create_objective("landmark_regression", SETTING, form="l2")
