import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.models.heads.margin import HEADS, AdaFace, CombinedMargin, create_head

B, D, M = 6, 5, 7


def batch(dtype=torch.float64):
    return torch.randn(B, D, dtype=dtype), torch.randint(0, M, (B,))


def double_head(name, **options):
    head = create_head(name, D, M, **options).double()
    torch.nn.init.normal_(head.weight)
    return head


def naive_cosine(head, embedding, i, m):
    def cosine(row):
        dot = sum(a * b for a, b in zip(embedding[i].tolist(), row.tolist(), strict=True))
        return dot / (float(embedding[i].norm()) * float(row.norm()))

    rows = head.weight[m * head.sub_centres : (m + 1) * head.sub_centres]
    return max(cosine(row) for row in rows.detach())


def naive_logits(head, embedding, labels, own_margin):
    logits = torch.zeros(B, M, dtype=torch.float64)
    for i in range(B):
        for m in range(M):
            value = naive_cosine(head, embedding, i, m)
            if labels is not None and m == labels[i]:
                value = own_margin(math.acos(value), i)
            logits[i, m] = head.scale * value
    return logits


def opposite(head, embedding, labels):
    """Turn sample 0 away from its class, theta = pi - 0.1, so that theta + m passes pi."""
    centre = head.weight[labels[0] * head.sub_centres].detach()
    side = torch.linalg.svd(centre[None]).Vh[1]
    unit = centre / centre.norm()
    return torch.cat(
        [3 * (math.cos(math.pi - 0.1) * unit + math.sin(0.1) * side)[None], embedding[1:]]
    )


@pytest.mark.parametrize("sub_centres", [1, 3])
def test_logits_without_margin(sub_centres):
    head = double_head("arcface", sub_centres=sub_centres)
    embedding, _ = batch()
    expected = naive_logits(head, embedding, None, None)
    torch.testing.assert_close(head.logits(embedding), expected)


@pytest.mark.parametrize("sub_centres", [1, 3])
def test_cosface(sub_centres):
    head = double_head("cosface", sub_centres=sub_centres, scale=30.0)
    embedding, labels = batch()
    expected = naive_logits(head, embedding, labels, lambda theta, i: math.cos(theta) - 0.4)
    torch.testing.assert_close(head(embedding, labels), expected)


@pytest.mark.parametrize("past_pi", ["fallback", "easy", "wrap"])
def test_arcface(past_pi):
    head = double_head("arcface", past_pi=past_pi)
    embedding, labels = batch()
    embedding = opposite(head, embedding, labels)

    def own(theta, i):
        if past_pi == "easy" and theta >= math.pi / 2:
            return math.cos(theta)
        if past_pi == "fallback" and theta + 0.5 > math.pi:
            return math.cos(theta) - 0.5 * math.sin(0.5)
        return math.cos(theta + 0.5)

    torch.testing.assert_close(
        head(embedding, labels), naive_logits(head, embedding, labels, own), rtol=1e-6, atol=1e-6
    )


def test_combined_margin():
    head = double_head("combined", m1=1.2, m2=0.3, m3=0.1, past_pi="wrap")
    embedding, labels = batch()
    expected = naive_logits(
        head, embedding, labels, lambda theta, i: math.cos(1.2 * theta + 0.3) - 0.1
    )
    torch.testing.assert_close(head(embedding, labels), expected)


def test_adaface():
    head = double_head("adaface")
    embedding, labels = batch()
    embedding = embedding * torch.tensor([[1e-5], [1], [10], [1], [300], [3]])
    norms = [min(max(float(row.norm()), 1e-3), 100.0) for row in embedding]
    mean = sum(norms) / B
    std = math.sqrt(sum((norm - mean) ** 2 for norm in norms) / (B - 1))
    running_mean, running_std = 0.99 * 20 + 0.01 * mean, 0.99 * 100 + 0.01 * std

    def own(theta, i):
        quality = (norms[i] - running_mean) / (running_std + 1e-3) * 0.333
        quality = min(max(quality, -1), 1)
        angle = min(max(theta - 0.4 * quality, 1e-3), math.pi - 1e-3)
        return math.cos(angle) - (0.4 + 0.4 * quality)

    expected = naive_logits(head, embedding, labels, own)
    torch.testing.assert_close(head(embedding, labels), expected)
    assert float(head.batch_mean) == pytest.approx(running_mean)
    assert float(head.batch_std) == pytest.approx(running_std)


def test_adaface_asks_less_of_poor_images():
    head = AdaFace(D, M).eval()
    embedding, labels = batch(torch.float32)
    embedding = torch.nn.functional.normalize(embedding)
    head.batch_mean.fill_(20.0)
    head.batch_std.fill_(10.0)
    index = labels.unsqueeze(1)
    poor, plain, good = (
        head(embedding * norm, labels).gather(1, index) for norm in (1.0, 20.0, 60.0)
    )
    cosface = create_head("cosface", D, M)
    cosface.weight = head.weight
    torch.testing.assert_close(
        plain, cosface(embedding, labels).gather(1, index), rtol=1e-4, atol=1e-4
    )
    assert (poor != plain).all()
    assert (good != plain).all()


def test_adaface_statistics_rest_in_eval_mode_and_on_single_samples():
    head = AdaFace(D, M)
    embedding, labels = batch(torch.float32)
    head(embedding[:1], labels[:1])
    head.eval()(embedding, labels)
    assert float(head.batch_mean) == 20.0
    assert float(head.batch_std) == 100.0


@pytest.mark.parametrize("name", sorted(HEADS))
@pytest.mark.parametrize("sub_centres", [1, 2])
def test_exact_gradient(name, sub_centres):
    head = double_head(name, scale=4.0, sub_centres=sub_centres).eval()
    embedding, labels = batch()
    embedding.requires_grad_()

    def own_logit(embedding, weight):
        out = torch.func.functional_call(head, {"weight": weight}, (embedding, labels))
        return out.gather(1, labels.unsqueeze(1))

    if name == "adaface":
        # By design no gradient flows through the norm; without quality there is none to miss.
        head.h = 0.0
    torch.autograd.gradcheck(own_logit, (embedding, head.weight))


@pytest.mark.parametrize("name", ["arcface", "cosface", "combined", "adaface"])
def test_straight_through_has_the_same_value_and_the_plain_gradient(name):
    options = {"m1": 1.1, "m2": 0.2, "m3": 0.1} if name == "combined" else {}
    exact = double_head(name, **options)
    straight = double_head(name, gradient="straight_through", **options)
    straight.weight = exact.weight
    embedding, labels = batch()
    embedding.requires_grad_()
    torch.testing.assert_close(straight(embedding, labels), exact(embedding, labels))

    def gradient(logits):
        own = logits.gather(1, labels.unsqueeze(1)).sum()
        return torch.autograd.grad(own, embedding)[0]

    plain = gradient(exact.logits(embedding))
    torch.testing.assert_close(gradient(straight(embedding, labels)), plain)
    if name in ("arcface", "combined"):
        assert not torch.allclose(gradient(exact(embedding, labels)), plain)


def test_arcface_gradient_is_the_analytic_one():
    head = double_head("arcface", scale=1.0)
    cosine = torch.tensor([0.7, 0.0, -0.5], dtype=torch.float64, requires_grad=True)
    head.with_margin(cosine, torch.empty(0)).sum().backward()
    theta = torch.arccos(cosine.detach())
    torch.testing.assert_close(cosine.grad, torch.sin(theta + 0.5) / torch.sin(theta))


@pytest.mark.parametrize("name", ["softmax", "arcface", "cosface", "adaface"])
def test_no_margin_is_plain(name):
    head = create_head(name, D, M, **({} if name == "softmax" else {"m": 0.0})).double()
    embedding, labels = batch()
    torch.testing.assert_close(
        head(embedding, labels), head.logits(embedding), rtol=1e-4, atol=1e-4
    )


@given(
    m1=st.floats(1, 1.3),
    m2=st.floats(0, 0.7),
    m3=st.floats(0, 0.9),
    cosines=st.lists(st.floats(-1, 1), min_size=2, max_size=2),
)
@settings(deadline=None, max_examples=50)
def test_fallback_margin_is_monotonic_and_never_helps(m1, m2, m3, cosines):
    head = CombinedMargin(D, M, m1=m1, m2=m2, m3=m3)
    low, high = sorted(cosines)
    pair = torch.tensor([low, high], dtype=torch.float64)
    result = head.with_margin(pair, torch.empty(0))
    assert result[0] <= result[1] + 1e-9
    assert (result <= pair + 1e-9).all()


@pytest.mark.parametrize("name", sorted(HEADS))
def test_extremes_stay_finite(name):
    head = create_head(name, D, M)
    centres = torch.nn.functional.normalize(head.weight.detach())
    embedding = torch.cat([centres, -centres, torch.zeros(1, D)]).requires_grad_()
    labels = torch.cat([torch.arange(M), torch.arange(M), torch.tensor([0])])
    logits = head(embedding, labels)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    assert torch.isfinite(logits).all()
    assert torch.isfinite(embedding.grad).all()
    assert torch.isfinite(head.weight.grad).all()


@pytest.mark.parametrize("name", sorted(HEADS))
def test_logits_are_float32_under_autocast(name):
    head = create_head(name, D, M).eval()
    embedding, labels = batch(torch.float32)
    expected = head(embedding, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = head(embedding, labels)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    assert head(embedding.bfloat16(), labels).dtype == torch.float32


def test_sub_centres_can_leave_each_other():
    head = create_head("softmax", 2, 2, sub_centres=2, scale=1.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    logits = head.logits(torch.tensor([[5.0, 0], [-5, 0], [0, 5]]))
    torch.testing.assert_close(logits, torch.tensor([[1.0, 0], [1, 0], [0, 1]]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1], "label -1 is outside 0..6"),
        ([0, 7], "label 7 is outside 0..6"),
        ([0], r"int64 \(2,\)"),
        ([0.0, 1.0], "int64"),
    ],
)
def test_wrong_labels_are_named(labels, message):
    with pytest.raises(FacedistillError, match=message):
        create_head("arcface", D, M)(torch.randn(2, D), torch.tensor(labels))


def test_wrong_embedding_is_named():
    with pytest.raises(FacedistillError, match=r"\(B, 5\)"):
        create_head("arcface", D, M)(torch.randn(2, D + 1), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("arcfase", {}, "arcface"),
        ("arcface", {"margin": 0.5}, "margin"),
        ("arcface", {"m": -0.1}, "margins must"),
        ("combined", {"m1": 2.0, "m2": 1.0}, "too large together"),
        ("arcface", {"scale": 0}, "scale"),
        ("arcface", {"sub_centres": 0}, "sub_centres"),
        ("arcface", {"gradient": "straight"}, "gradient must be one of"),
        ("arcface", {"past_pi": "never"}, "past_pi must be one of"),
        ("adaface", {"t_alpha": 0}, "AdaFace needs"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(FacedistillError, match=message):
        create_head(name, D, M, **options)
