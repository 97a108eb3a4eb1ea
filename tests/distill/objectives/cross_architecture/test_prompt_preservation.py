import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.cross_architecture.prompt_preservation import divergence
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.teachers.prompted import PromptedNetwork
from facedistill.models.face_network import FaceNetwork
from facedistill.models.heads.class_head import ClassHead
from facedistill.models.heads.margin import create_head
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.distill.objectives.by_hand import batch_of, dot, softmax, times, unit
from tests.distill.objectives.contexts import context, outputs_asked

LABELS = [0, 1, 2, 0, 3]
BATCH = batch_of(LABELS)


def centres(classes=4, size=5):
    return F.normalize(torch.randn(classes, size))


def made(by, known=None, identities=4, **options):
    run = context(5, 5, identities, class_centres=known)
    return create_objective("prompt_preservation", run, by=by, **options)


def answers(count=5, size=5):
    prompted, plain = (torch.randn(count, size, dtype=torch.float64) for _ in range(2))
    return Outputs(embedding=prompted, plain_embedding=plain)


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("by", ["embedding-kl", "logits-kl"])
def test_is_the_mean_divergence_from_the_plain_teacher(by):
    known = centres()
    teacher = answers()
    matrix = known.double().tolist() if by == "logits-kl" else torch.eye(5).tolist()
    loss, parts = made(by, known, scale=6.0)(Outputs(), teacher, BATCH)
    pairs = list(zip(teacher.embedding.tolist(), teacher.plain_embedding.tolist(), strict=True))
    scores = [[[6 * x for x in times(matrix, unit(f))] for f in pair] for pair in pairs]
    wanted = sum(kl(softmax(a), softmax(b)) for a, b in scores) / 5
    assert loss.item() == pytest.approx(wanted, abs=1e-5)
    cosine = sum(dot(unit(a), unit(b)) for a, b in pairs) / 5
    assert parts["cosine"].item() == pytest.approx(cosine, abs=1e-6)
    assert not parts["cosine"].requires_grad


@pytest.mark.parametrize("by", ["embedding-kl", "logits-kl"])
def test_the_plain_teacher_costs_nothing_and_its_length_does_not_count(by):
    teacher = answers()
    teacher.plain_embedding = 3 * teacher.embedding
    assert made(by, centres())(Outputs(), teacher, BATCH)[0].item() == pytest.approx(0, abs=1e-6)


def test_classes_is_the_margin_softmax_with_the_given_centres():
    known, teacher = centres(), answers()
    loss, parts = made("classes", known, scale=8.0, m=0.3)(Outputs(), teacher, BATCH)
    total, right = 0.0, 0
    for f, y in zip(teacher.embedding.tolist(), LABELS, strict=True):
        cosines = times(known.double().tolist(), unit(f))
        cosines[y] -= 0.3
        total -= math.log(softmax([8 * c for c in cosines])[y])
        right += cosines.index(max(cosines)) == y
    assert loss.item() == pytest.approx(total / 5, abs=1e-5)
    assert parts["accuracy"].item() == pytest.approx(right / 5)


@pytest.mark.parametrize("by", ["logits-kl", "classes"])
@pytest.mark.parametrize("sub_centres", [1, 3])
def test_the_teachers_own_centres_come_before_its_means(by, sub_centres):
    own = create_head("arcface", 5, 4, sub_centres=sub_centres, scale=7.0)

    def preservation(head):
        run = context(5, 5, 4, class_centres=centres, class_head=head)
        return create_objective("prompt_preservation", run, by=by, scale=8.0)

    objective = preservation(lambda: ClassHead(own, "f" * 32, "faces"))
    assert torch.equal(objective.head.weight, own.weight)
    assert not objective.head.weight.requires_grad
    embedding = torch.randn(6, 5)
    torch.testing.assert_close(objective.head.logits(embedding), 8 / 7 * own.logits(embedding))
    assert preservation(lambda: None).head.weight.norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_nothing_of_it_trains():
    assert not any(p.requires_grad for p in made("classes", centres()).parameters())
    assert not list(made("embedding-kl").parameters())


@pytest.mark.parametrize(
    ("by", "needs"),
    [
        ("embedding-kl", {"teacher.embedding", "teacher.plain_embedding"}),
        ("logits-kl", {"teacher.embedding", "teacher.plain_embedding"}),
        ("classes", {"teacher.embedding"}),
    ],
)
def test_needs(by, needs):
    assert outputs_asked(made(by, centres())) == needs


def test_gradient_goes_to_the_prompted_side():
    a, b = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(divergence, (a, b))
    assert (divergence(a, b) >= 0).item()


@pytest.mark.parametrize("by", ["logits-kl", "classes"])
def test_what_it_cannot_do_without(by):
    with pytest.raises(FacedistillError, match="class centres"):
        made(by)
    with pytest.raises(FacedistillError, match="needs labels"):
        made(by, centres(), identities=0)
    with pytest.raises(FacedistillError, match="needs a teacher"):
        create_objective("prompt_preservation", context(5, None, 4), by=by)


@pytest.mark.parametrize("options", [{"by": "kl"}, {"by": "embedding-kl", "scale": 0.0}])
def test_options_out_of_range(options):
    with pytest.raises(FacedistillError, match="prompt_preservation"):
        made(**options)


def test_prompts_that_left_the_teacher_come_back():
    teacher = FaceNetwork.create("swin_nano", InputSpec(size=32), embedding_size=5)
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        for _ in range(20):
            teacher.train()(images)
    prompted = PromptedNetwork(teacher, 4)
    preservation = made("embedding-kl", scale=8.0)

    def follow(sign: int, rate: float, steps: int) -> list[float]:
        optimizer = torch.optim.Adam(prompted.parameters(), lr=rate)
        losses = []
        for _ in range(steps):
            outputs = prompted(images, {"embedding", "plain_embedding"})
            loss, _ = preservation(Outputs(), outputs, BATCH)
            losses.append(loss.item())
            optimizer.zero_grad()
            (sign * loss).backward()
            optimizer.step()
        return losses

    away = follow(-1, 0.05, 8)
    back = follow(1, 0.02, 20)
    assert back[0] > 2 * away[0]
    assert back[-1] < back[0]
