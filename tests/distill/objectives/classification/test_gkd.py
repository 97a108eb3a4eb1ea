import math

import pytest
import torch

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
