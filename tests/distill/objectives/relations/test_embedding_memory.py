import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.distill.objectives.relations.embedding_memory import (
    EmbeddingQueue,
    IdentityMemory,
    last_occurrence,
)


def test_of_an_identity_that_is_there_twice_the_last_wins():
    memory = IdentityMemory((4, 2), "fp32")
    rows = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    memory.record(torch.tensor([2, 0, 2, 2]), rows)
    assert memory.rows.tolist() == [[0, 1], [0, 0], [0, -1], [0, 0]]
    assert memory.seen.tolist() == [True, False, True, False]
    memory.record(torch.tensor([3, 2]), rows[:2])
    assert memory.rows.tolist() == [[0, 1], [0, 0], [0, 1], [1, 0]]
    assert memory.seen.tolist() == [True, False, True, True]


@given(st.lists(st.lists(st.integers(0, 5), max_size=9), max_size=5))
def test_rows_are_those_of_a_dictionary(batches):
    memory, expected, number = IdentityMemory((6, 1), "fp32"), {}, 0
    for identities in batches:
        values = [[float(number + i)] for i in range(len(identities))]
        number += len(identities)
        memory.record(torch.tensor(identities, dtype=torch.int64), torch.tensor(values).view(-1, 1))
        expected |= dict(zip(identities, values, strict=True))
    assert memory.rows.tolist() == [expected.get(i, [0.0]) for i in range(6)]
    assert memory.seen.tolist() == [i in expected for i in range(6)]


def test_every_place_points_at_the_last_of_its_kind():
    assert last_occurrence(torch.tensor([5, 3, 5, 5, 9, 3])).tolist() == [3, 5, 3, 3, 4, 5]


@pytest.mark.parametrize(("storage", "exact"), [("fp16", 5e-4), ("fp32", 0)])
def test_storage(storage, exact):
    start = torch.nn.functional.normalize(torch.randn(7, 16))
    memory = IdentityMemory(start, storage)
    assert memory.rows.dtype == (torch.float16 if storage == "fp16" else torch.float32)
    assert memory.seen.all()
    torch.testing.assert_close(memory.rows.float(), start, atol=exact, rtol=0)
    memory.record(torch.tensor([1]), -start[1:2])
    torch.testing.assert_close(memory.rows[1].float(), -start[1], atol=exact, rtol=0)
    memory.double()
    assert memory.rows.dtype != torch.float64
    with pytest.raises(ValueError, match="storage is 'fp8'"):
        IdentityMemory((1, 1), "fp8")


def test_what_it_starts_from_is_not_written_to():
    start = torch.eye(3)
    memory = IdentityMemory(start, "fp32")
    memory.record(torch.tensor([0]), torch.full((1, 3), 9.0))
    assert torch.equal(start, torch.eye(3))


def test_recording_keeps_no_gradient():
    memory = IdentityMemory((2, 3))
    memory.record(torch.tensor([0]), torch.ones(1, 3, requires_grad=True))
    assert not memory.rows.requires_grad


def test_state_goes_into_another_memory():
    first, second = IdentityMemory((5, 3)), IdentityMemory((5, 3))
    first.record(torch.tensor([4, 0]), torch.randn(2, 3))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.rows, second.rows)
    assert torch.equal(first.seen, second.seen)
    first.record(torch.tensor([1]), torch.ones(1, 3))
    assert not second.seen[1]


@pytest.mark.parametrize("other", [((5, 4), "fp16"), ((4, 3), "fp16"), ((5, 3), "fp32")])
def test_state_of_another_memory_is_refused(other):
    state = IdentityMemory(*other).state_dict()
    with pytest.raises(ValueError, match="of an identity memory are"):
        IdentityMemory((5, 3), "fp16").load_state_dict(state)


def test_it_has_no_buffers_that_ddp_would_send_around():
    assert not list(IdentityMemory((5, 3)).buffers())


@given(st.integers(1, 6), st.lists(st.integers(0, 9), max_size=6))
def test_the_queue_holds_the_latest(size, counts):
    queue, history = EmbeddingQueue(size, (1, 2), "fp32"), []
    for count in counts:
        new = [float(len(history) + i) for i in range(count)]
        history += new
        column = torch.tensor(new).view(-1, 1)
        queue.push(column, torch.cat([column, -column], 1))
    latest = history[-size:]
    assert sorted(queue.students[: queue.filled, 0].tolist()) == latest
    assert torch.equal(queue.teachers, torch.cat([queue.students, -queue.students], 1))


def test_the_oldest_give_way():
    queue = EmbeddingQueue(3, (1, 1), "fp32")
    for numbers in ([1.0, 2.0], [3.0, 4.0]):
        column = torch.tensor(numbers)[:, None]
        queue.push(column, column)
    assert queue.students[:, 0].tolist() == [4, 2, 3]
    assert (queue.filled, queue.place) == (3, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_an_accelerator_records_the_same():
    identities, rows = torch.randint(0, 50, (4096,)), torch.randn(4096, 8)
    here, there = IdentityMemory((60, 8)), IdentityMemory((60, 8))
    here.record(identities, rows)
    for _ in range(5):
        there.record(identities.cuda(), rows.cuda())
        assert torch.equal(here.rows, there.rows.cpu())
    assert torch.equal(here.seen, there.seen.cpu())
