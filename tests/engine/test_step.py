import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Classifier, Objective
from facedistill.distill.teachers.base import Teacher
from facedistill.engine.step import TrainingStep, Weight
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers the network


class Term(Objective):
    """Mean embedding times a factor."""

    def __init__(self, factor=1.0, needs=("student.embedding",)):
        super().__init__()
        self.factor, self.needs = nn.Parameter(torch.tensor(factor)), frozenset(needs)
        self.seen = []

    def forward(self, student, teacher, batch):
        self.seen.append(student)
        return self.factor * student.embedding.mean(), {"factor": self.factor.detach()}


class Twice(Term, Classifier):
    scale = 1.0

    def logits(self, embedding):
        return 2 * embedding


class EmbeddingTeacher(Teacher):
    name, gives = "the oracle", frozenset({"embedding"})

    def __call__(self, batch, needs):
        return Outputs()


def make_step(**terms):
    objectives = {name: term for name, (term, _) in terms.items()}
    weights = {name: weight for name, (_, weight) in terms.items()}
    network = FaceNetwork.create("standin", InputSpec(size=16))
    return TrainingStep(network, objectives, weights)


def batch():
    images = torch.randint(256, (4, 16, 16, 3), dtype=torch.uint8)
    return Batch(images, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.bool), None)


def test_the_loss_is_the_weighted_sum_of_what_is_on():
    step = make_step(
        a=(Term(1.0), Weight(2.0)),
        early=(Term(10.0), Weight(1.0, stop=0.5)),
        late=(Term(100.0), Weight(0.5, start=0.25)),
    )
    images = batch()
    mean = step.student(images.images).embedding.mean().item()
    for done, factor in [(0.0, 12.0), (0.25, 62.0), (0.49, 62.0), (0.5, 52.0), (1.0, 52.0)]:
        loss, parts = step(images, Outputs(), done)
        assert loss.item() == pytest.approx(factor * mean, rel=1e-5)
        assert ("early" in parts, "late" in parts) == (done < 0.5, done >= 0.25)
        assert not any(part.requires_grad for part in parts.values())
        assert parts["a.factor"] == 1


def test_a_weight_rises_in_a_line_from_its_start():
    weight = Weight(2.0, start=0.25, stop=0.75, warmup=0.25)
    found = [weight.at(done) for done in (0.2, 0.25, 0.3125, 0.375, 0.5, 0.74, 0.75)]
    assert found == [0, 0, 0.5, 1, 2, 2, 0]
    assert [weight.on(done) for done in (0.24, 0.25, 0.75)] == [False, True, False]
    assert not Weight(0.0).on(0.5)
    # Alone it may rise from the first step on: at weight 0 it is on and the loss has a gradient.
    step = make_step(a=(Term(), Weight(warmup=0.5)))
    loss, parts = step(batch(), Outputs(), 0.0)
    loss.backward()
    assert loss == 0
    assert "a" in parts


class Watching(Term):
    def observe(self, student, teacher, batch):
        self.seen.append(("observed", len(batch)))

    def finish_step(self, gather):
        self.seen.append(("finished", gather(torch.ones(1)).item()))


def test_objectives_see_every_batch_and_the_end_of_a_step_on_or_off():
    step = make_step(a=(Term(), Weight()), late=(Watching(), Weight(start=0.5)))
    step(batch(), Outputs(), 0.0)
    step.finish_step(lambda rows: 2 * rows)
    late = step.objectives["late"]
    assert late.seen == [("observed", 4), ("finished", 2)]
    step(batch(), Outputs(), 0.5)
    kinds = [entry[0] for entry in late.seen[2:] if isinstance(entry, tuple)]
    assert kinds == ["observed"]
    assert len(late.seen) == 4


def test_a_term_that_is_off_gets_no_gradient():
    step = make_step(a=(Term(), Weight()), late=(Term(), Weight(start=0.5)))
    step(batch(), Outputs(), 0.0)[0].backward()
    assert step.objectives["late"].factor.grad is None
    assert step.objectives["a"].factor.grad is not None


def test_logits_come_from_the_objective_that_classifies():
    wants = Term(needs=("student.embedding", "student.logits", "student.feature_map"))
    step = make_step(wants=(wants, Weight()), twice=(Twice(), Weight()))
    step(batch(), Outputs(), 0.0)
    (student,) = wants.seen
    assert torch.equal(student.logits, 2 * student.embedding)
    assert student.feature_map.shape[:2] == (4, 8)


def test_needs_that_nothing_gives_are_refused():
    with pytest.raises(FacedistillError, match=r"need student\.tokens, but standin gives only"):
        make_step(a=(Term(needs=("student.tokens",)), Weight()))
    with pytest.raises(FacedistillError, match="add one that does, a margin softmax"):
        make_step(a=(Term(needs=("student.logits",)), Weight()))


@pytest.mark.parametrize(
    ("weights", "when"),
    [
        ([Weight(0.0)], "0 %"),
        ([Weight(start=0.5)], "0 %"),
        ([Weight(stop=0.25), Weight(start=0.5)], "25 %"),
    ],
)
def test_a_time_without_any_objective_is_refused(weights, when):
    terms = {f"term{number}": (Term(), weight) for number, weight in enumerate(weights)}
    with pytest.raises(FacedistillError, match=f"no objective is on when {when}"):
        make_step(**terms)


def test_a_share_of_the_students_gradient_is_for_what_the_student_learns_from():
    teachers = Term(needs=("teacher.embedding", "teacher.plain_embedding"))
    with pytest.raises(FacedistillError, match="automatic weight of keeps is a share of the st"):
        make_step(a=(Term(), Weight()), keeps=(teachers, Weight(share=0.3)))


def test_teacher_and_objectives_must_go_together():
    distilled = make_step(a=(Term(needs=("student.embedding", "teacher.embedding")), Weight()))
    alone = make_step(a=(Term(), Weight()))
    greedy = make_step(a=(Term(needs=("student.embedding", "teacher.tokens")), Weight()))
    distilled.check_teacher(EmbeddingTeacher())
    alone.check_teacher(None)
    with pytest.raises(
        FacedistillError, match=r"need teacher\.embedding and the run has no teacher"
    ):
        distilled.check_teacher(None)
    with pytest.raises(FacedistillError, match="no objective learns from the oracle"):
        alone.check_teacher(EmbeddingTeacher())
    with pytest.raises(FacedistillError, match=r"need teacher\.tokens, but the oracle gives only"):
        greedy.check_teacher(EmbeddingTeacher())


class Hints(Term):
    """Learns from the feature map alone."""

    def __init__(self):
        super().__init__(needs=("student.feature_map",))

    def forward(self, student, teacher, batch):
        return self.factor * student.feature_map.mean(), {}


@pytest.mark.parametrize(
    ("terms", "weights"),
    [
        ([Term()], [Weight()]),
        ([Hints()], [Weight()]),
        ([Hints(), Term()], [Weight(), Weight()]),
        ([Hints(), Term()], [Weight(), Weight(stop=0.5)]),
        ([Hints(), Term()], [Weight(0.0), Weight()]),
    ],
)
def test_weights_without_a_gradient_are_announced(terms, weights):
    named = dict(zip("ab", zip(terms, weights, strict=True), strict=False))
    step = make_step(**named)
    missing = False
    for done in (0.0, 0.75):
        step.zero_grad(set_to_none=True)
        step(batch(), Outputs(), done)[0].backward()
        missing |= any(weight.grad is None for weight in step.parameters())
    assert step.leaves_weights_out == missing


def test_soft_targets_are_refused_where_classes_are_divided():
    divided = Twice()
    divided.gives_logits = False
    soft = Term(needs=("student.embedding", "student.logits"))
    with pytest.raises(FacedistillError, match=r"objectives\.twice divides .* sharded to false"):
        make_step(twice=(divided, Weight()), soft=(soft, Weight()))
