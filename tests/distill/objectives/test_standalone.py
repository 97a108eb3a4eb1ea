import doctest

import pytest
import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives import loss, objective_names, standalone
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, outputs_of
from tests.distill.objectives.contexts import context, everything

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
READ = {"student.embedding", "teacher.embedding"}


def embeddings(student=4, teacher=4):
    torch.manual_seed(5)
    return torch.randn(6, student, requires_grad=True), torch.randn(6, teacher)


def test_its_examples():
    assert doctest.testmod(standalone).failed == 0


@pytest.mark.parametrize("name", ["fcd", "embedding_mse", "rkd_distance", "sp", "pkt", "mrd"])
def test_is_the_objective_without_a_run(name):
    student, teacher = embeddings()
    value = loss(name)(student, teacher)
    expected, _ = create_objective(name, context(4, 4))(
        outputs_of(student), outputs_of(teacher), batch_of([-1] * 6)
    )
    assert torch.equal(value, expected)
    value.backward()
    assert student.grad.abs().sum() > 0


def test_every_method_of_embeddings_can_be_used_alone():
    centres = F.normalize(torch.randn(4, 4))
    student, teacher = embeddings()
    tried = 0
    for name in objective_names():
        if {n for n in create_objective(name, everything()).needs if n[:3] != "run"} - READ:
            continue
        alone = loss(name, student_size=4, teacher_size=4, identities=4, class_centres=centres)
        for _ in range(3):
            value = alone(student, teacher, LABELS)
            value.backward()
            assert torch.isfinite(value), name
        tried += 1
    assert tried > 15


def test_what_is_remembered_grows_from_call_to_call():
    student, teacher = embeddings()
    queue = loss("rad_queue", neighbours=3, queue=8, q=-1.0)
    first, second = queue(student, teacher), queue(student, teacher)
    second.backward()
    assert (first.item(), queue.parts["valid"].item()) == (0, 1)
    queue.eval()
    assert torch.equal(queue(student, teacher), queue(student, teacher))


def test_what_trains_with_it_is_there_before_the_first_batch():
    student, teacher = embeddings(teacher=5)
    with pytest.raises(FacedistillError, match="'fcd' has weights that train: give student_s"):
        loss("fcd")(student, teacher)
    sized = loss("fcd", student_size=4, teacher_size=5)
    sized(student, teacher).backward()
    assert all(weight.grad is not None for weight in sized.parameters())


@pytest.mark.parametrize(
    ("name", "given", "remedy"),
    [
        ("fdc", {}, "did you mean 'fcd'"),
        ("fcd", {"student_size": 4}, "'fcd' needs the teacher's embeddings: give teacher_size="),
        ("triplet", {}, "'triplet' needs labels: give identities=, the number of classes"),
        ("margin_softmax", {"student_size": 4}, "needs labels: give identities="),
        ("arcdistill", {"identities": 4}, "class centres: give class_centres="),
        ("rad", {"identities": 4}, "class centres: give class_centres="),
        ("landmark_imitation", {}, r"'landmark_imitation' reads .*no loss of embeddings alone"),
        ("fitnet", {}, r"'fitnet' reads run.pixel_features and is no loss of embeddings alone"),
        ("at", {}, "'at' reads run.pixel_features and is no loss of embeddings alone"),
        ("hidden_layer", {}, "no loss of embeddings alone"),
        ("kd", {}, "no loss of embeddings alone"),
        ("sp", {"layer": "map"}, "no loss of embeddings alone"),
    ],
)
def test_what_it_lacks_is_named_before_the_first_batch(name, given, remedy):
    with pytest.raises(FacedistillError, match=remedy):
        loss(name, **given)


def test_what_a_batch_lacks_is_named():
    student, _ = embeddings()
    with pytest.raises(FacedistillError, match="'fcd' needs the teacher's embeddings: give teach"):
        loss("fcd")(student)
    with pytest.raises(FacedistillError, match="'fcd' needs the teacher's embeddings: give teach"):
        loss("fcd", student_size=4, teacher_size=4)(student)
    with pytest.raises(FacedistillError, match="'triplet' needs labels: give labels="):
        loss("triplet", identities=3)(student)


def test_seeing_what_it_needs_draws_no_random_number():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    loss("crd", identities=3)
    assert torch.equal(torch.rand(1), expected)
