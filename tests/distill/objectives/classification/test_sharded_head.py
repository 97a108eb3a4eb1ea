import pytest
import torch
from torch import distributed
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.classification.sharded_head import ShardedHead
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.heads.margin import HEADS, create_head
from tests import child_process

CLASSES, SIZE, IMAGES = 11, 5, 8
LABELS = torch.tensor([0, 1, 10, 10, 5, 3, 7, 2])
WAYS = [
    *((name, {}, 0.0) for name in sorted(HEADS)),
    ("arcface", {"sub_centres": 2, "gradient": "straight_through"}, 0.1),
]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def dense(name, options, smoothing):
    """Loss, and gradients of embeddings and centres, of the whole head on the whole batch."""
    head = create_head(name, SIZE, CLASSES, scale=8.0, **options).double()
    weight = drawn(*head.weight.shape, seed=1)
    head.weight.data.copy_(weight)
    embedding = (3 * drawn(IMAGES, SIZE)).requires_grad_()
    loss = F.cross_entropy(head(embedding, LABELS), LABELS, label_smoothing=smoothing)
    return weight, loss.detach(), *torch.autograd.grad(loss, [embedding, head.weight])


def check_that_shards_do_what_the_whole_does(rank, processes):
    edges = [0, *range(3, 3 + processes - 1), IMAGES]  # Processes have unlike numbers of images.
    rows = slice(edges[rank], edges[rank + 1])
    for name, options, smoothing in WAYS:
        weight, loss, of_embedding, of_weight = dense(name, options, smoothing)
        head = ShardedHead(name, SIZE, CLASSES, scale=8.0, **options).double()
        head.head.weight.data.copy_(head.share_of(weight))
        embedding = (3 * drawn(IMAGES, SIZE))[rows].clone().requires_grad_()
        found, _ = head(embedding, LABELS[rows], smoothing)
        found.backward()
        torch.testing.assert_close(found.detach(), loss)
        # The student's gradient is the mean over the processes.
        torch.testing.assert_close(embedding.grad / processes, of_embedding[rows])
        torch.testing.assert_close(head.head.weight.grad, head.share_of(of_weight))
        with head.held_whole():
            assert rank or torch.equal(head.whole().weight, weight)


def be_a_process():
    distributed.init_process_group("gloo")
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    check_that_shards_do_what_the_whole_does(rank, processes)
    torch.manual_seed(3)
    first = ShardedHead("arcface", SIZE, CLASSES).head.weight
    torch.manual_seed(3)
    whole = create_head("arcface", SIZE, CLASSES).weight
    (rows,) = gathered(first.detach())
    assert torch.equal(rows, whole)

    sampled = ShardedHead("arcface", SIZE, 400, sample_rate=0.1)
    sampled(torch.randn(2, SIZE), torch.tensor([1, 399]))[0].backward()
    assert sampled.head.weight.grad._nnz() == 40 // processes
    distributed.destroy_process_group()
    print("same")


def test_one_process_does_what_the_whole_does():
    check_that_shards_do_what_the_whole_does(0, 1)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_do_what_the_whole_does(processes):
    for ended in child_process.run_ranks(be_a_process, processes=processes):
        assert ended.out == "same\n", ended.err


def sampled_head(rate=0.25, classes=40, **options):
    torch.manual_seed(0)
    return ShardedHead("cosface", SIZE, classes, sample_rate=rate, scale=8.0, **options)


def chosen_by(head, labels=LABELS):
    head.zero_grad()
    head(torch.randn(len(labels), SIZE), labels)[0].backward()
    return head.head.weight.grad.coalesce().indices()[0]


def test_positives_are_always_drawn_and_all_others_alike():
    head, draws = sampled_head(), 300
    counts = torch.zeros(40)
    for _ in range(draws):
        chosen = chosen_by(head)
        assert len(chosen) == 10
        counts[chosen] += 1
    positive = torch.zeros(40, dtype=torch.bool)
    positive[LABELS] = True
    assert (counts[positive] == draws).all()
    share = 3 / 33  # Seven identities are in the batch; three of the other 33 are drawn.
    deviation = (draws * share * (1 - share)) ** 0.5
    assert ((counts[~positive] - draws * share).abs() < 5 * deviation).all()


def test_more_positives_than_the_rate_allows_are_all_there():
    assert chosen_by(sampled_head(0.05)).tolist() == sorted(set(LABELS.tolist()))


def test_the_loss_is_that_of_the_drawn_classes():
    head = sampled_head(0.5, sub_centres=2)
    embedding = torch.randn(IMAGES, SIZE, requires_grad=True)
    loss, _ = head(embedding, LABELS)
    loss.backward()
    rows = head.head.weight.grad.coalesce()
    classes = (rows.indices()[0][::2] // 2).tolist()
    alone = create_head("cosface", SIZE, len(classes), scale=8.0, sub_centres=2)
    alone.weight.data.copy_(head.head.weight[rows.indices()[0]])
    labels = torch.tensor([classes.index(label) for label in LABELS.tolist()])
    same = embedding.detach().clone().requires_grad_()
    expected = F.cross_entropy(alone(same, labels), labels)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(embedding.grad, same.grad)
    torch.testing.assert_close(rows.values(), alone.weight.grad)


def test_outside_of_training_nothing_is_left_out():
    head = sampled_head().eval()
    head(torch.randn(IMAGES, SIZE), LABELS)[0].backward()
    assert not head.head.weight.grad.is_sparse


def test_drawing_goes_on_where_a_checkpoint_stopped():
    head = sampled_head()
    before = chosen_by(head)
    state = head.state_dict()
    torch.manual_seed(9)
    other = ShardedHead("cosface", SIZE, 40, sample_rate=0.25, scale=8.0)
    other.load_state_dict(state)
    after = chosen_by(head)
    assert torch.equal(chosen_by(other), after)
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0.1}, "below 1 it needs sharded: true"),
        ({"sharded": True, "sample_rate": 0.0}, "sample_rate is 0.0, it must be above 0"),
        ({"sharded": True, "sample_rate": 1.5}, "sample_rate is 1.5, it must be above 0"),
    ],
)
def test_rates_that_cannot_be_are_refused(options, message):
    with pytest.raises(FacedistillError, match=message):
        create_objective("margin_softmax", RunContext(SIZE, None, CLASSES), **options)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(FacedistillError, match=r"label 11 is outside 0\.\.10"):
        ShardedHead("arcface", SIZE, CLASSES)(torch.randn(1, SIZE), torch.tensor([11]))


def test_a_head_that_is_not_together_is_not_written():
    with pytest.raises(RuntimeError, match="not together"):
        ShardedHead("arcface", SIZE, CLASSES).whole()
