import math

import pytest
import torch

from facedistill.distill.objectives.classification.gkd import (
    group_of_batch_size,
    with_angular_margin,
)
from tests.distill.objectives.by_hand import batch_of, outputs_of, softmax
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made


def by_hand(of_student, of_teacher, labels, tau, share):
    """The two divergences and the mean size of a group, one image at a time."""
    primary = binary = size = 0.0
    for z_s, z_t, y in zip(of_student, of_teacher, labels, strict=True):
        p_s, p_t = (softmax([z / tau for z in row]) for row in (z_s, z_t))
        group, mass = {y}, 0.0
        for m in sorted(range(len(p_s)), key=lambda m: -p_s[m]):
            if mass >= share:
                break
            group.add(m)
            mass += p_s[m]
        inside = sorted(group)
        q_s, q_t = (softmax([row[m] / tau for m in inside]) for row in (z_s, z_t))
        primary += sum(a * math.log(a / b) for a, b in zip(q_t, q_s, strict=True))
        rest = [m for m in range(len(p_s)) if m not in group]
        for part in filter(None, (inside, rest)):
            of_s, of_t = (sum(p[m] for m in part) for p in (p_s, p_t))
            binary += of_t * math.log(of_t / of_s)
        size += len(group) / len(p_s)
    count = len(of_student)
    return tau**2 * primary / count, tau**2 * binary / count, size / count


@pytest.mark.parametrize(("tau", "share"), [(4.0, 0.93), (1.0, 0.5), (20.0, 0.99)])
def test_is_the_divergence_inside_groups_and_of_their_mass(tau, share):
    of_student, of_teacher = both_outputs()
    loss, parts = made("gkd", tau=tau, share=share)(of_student, of_teacher, batch())
    primary, binary, size = by_hand(
        of_student.logits.tolist(), of_teacher.logits.tolist(), LABELS, tau, share
    )
    assert parts["primary"].item() == pytest.approx(primary, abs=1e-9)
    assert parts["binary"].item() == pytest.approx(binary, abs=1e-9)
    assert parts["group"].item() == pytest.approx(size)
    assert loss.item() == pytest.approx(8 * primary + binary, abs=1e-8)


def test_a_group_holds_the_own_class_and_the_likeliest():
    logits = torch.tensor([[5.0, 4.0, 0.0, -9.0]])
    of_teacher = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    # Softened by 1 the first two classes have 0.995 of the probability; the own class is the last.
    _, parts = made("gkd", tau=1.0, share=0.9)(
        outputs_of(logits=logits), outputs_of(logits=of_teacher), batch_of([3])
    )
    assert parts["group"].item() == 0.75


def test_a_group_that_the_student_is_sure_of_still_learns_its_mass():
    # The rest has 1e-11 of the probability, which float32 cannot distinguish from 1 - mass.
    of_student, of_teacher = torch.tensor([[25.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.0, 0.0]])

    def gradient(dtype):
        logits = of_student.to(dtype, copy=True).requires_grad_()
        objective = made("gkd", tau=1.0, primary=0.0)
        objective(
            outputs_of(logits=logits), outputs_of(logits=of_teacher.to(dtype)), batch_of([0])
        )[0].backward()
        return logits.grad

    assert gradient(torch.float64)[0, 0] > 0.4
    torch.testing.assert_close(gradient(torch.float32).double(), gradient(torch.float64))


def test_equal_logits_cost_nothing_at_any_confidence():
    logits = torch.tensor([[1e4, 0, -1e4, 3], [0, 0, 0, 1e4]])
    of_student = logits.clone().requires_grad_()
    loss, _ = made("gkd")(
        outputs_of(logits=of_student), outputs_of(logits=logits), batch_of([0, 1])
    )
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(of_student.grad).all()


def batch_by_hand(of_student, labels, share, step):
    """The groups of one size, one image at a time."""
    likely = [sorted(softmax(row), reverse=True) for row in of_student]
    classes, size = len(likely[0]), 0
    while size < classes and sum(sum(p[:size]) for p in likely) / len(likely) < share:
        size += step
    order = [sorted(range(classes), key=lambda m: -row[m])[:size] for row in of_student]
    return [set(best) | {y} for best, y in zip(order, labels, strict=True)]


@pytest.mark.parametrize(("share", "step"), [(0.93, 2), (0.5, 1), (0.99, 100)])
def test_groups_of_a_batch_have_one_size(share, step):
    of_student, _ = both_outputs()
    group = group_of_batch_size(of_student.logits, torch.tensor(LABELS), share, step)
    found = [set(torch.nonzero(row)[:, 0].tolist()) for row in group]
    assert found == batch_by_hand(of_student.logits.tolist(), LABELS, share, step)


def test_groups_of_a_batch_are_of_probabilities_that_are_not_softened():
    # Not softened the likeliest class has 0.98 of the probability, softened by 4 it has 0.5.
    logits = outputs_of(logits=torch.tensor([[4.0, 0.0, 0.0, 0.0]] * 2).double())
    parts = [
        made("gkd", groups=groups, step=1, share=0.9)(logits, logits, batch_of([0, 0]))[1]
        for groups in ("batch", "image")
    ]
    assert [part["group"].item() for part in parts] == [0.25, 1.0]


def test_a_margin_is_on_the_own_class_of_both_networks():
    scale, margin = 10.0, 0.5
    cosines = torch.tensor([[0.6, -0.2, 0.1], [0.3, -0.95, 0.0]]).double()
    labels = torch.tensor([0, 1])
    expected = (scale * cosines).tolist()
    for row, label in enumerate(labels):
        angle = min(math.acos(cosines[row, label]) + margin, math.pi)
        expected[row][label] = scale * math.cos(angle)
    found = with_angular_margin(scale * cosines, labels, margin, scale)
    torch.testing.assert_close(found, torch.tensor(expected).double())
    of_student, of_teacher = scale * cosines.flip(1), scale * cosines
    given = made("gkd", tau=2.0, margin=margin, scale=scale)(
        outputs_of(logits=of_student), outputs_of(logits=of_teacher), batch_of(labels.tolist())
    )
    harder = [with_angular_margin(z, labels, margin, scale) for z in (of_student, of_teacher)]
    plain = made("gkd", tau=2.0)(*(outputs_of(logits=z) for z in harder), batch_of(labels.tolist()))
    assert given[0].item() == pytest.approx(plain[0].item(), rel=1e-12)


@pytest.mark.parametrize("end", [1.0, -1.0])
def test_the_gradient_of_a_margin_is_finite_at_both_ends(end):
    logits = torch.tensor([[64.0 * end, 0.0, 3.0]], requires_grad=True)
    with_angular_margin(logits, torch.tensor([0]), 0.5, 64.0).sum().backward()
    assert torch.isfinite(logits.grad).all()
