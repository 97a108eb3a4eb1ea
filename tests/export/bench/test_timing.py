import pytest

from facedistill.export.bench.timing import time_calls, time_in_turns


def test_calls_are_timed_one_by_one():
    moments = iter([0.0, 1.0, 10.0, 12.0, 20.0, 24.0])
    made = []
    seconds = time_calls(lambda: made.append(1), 3, clock=lambda: next(moments))
    assert seconds == [1, 2, 4]
    assert len(made) == 3


@pytest.mark.parametrize(
    ("calls", "turns", "made"), [(10, 5, [2] * 5), (11, 5, [3] * 5), (3, 10, [1, 1, 1])]
)
def test_all_take_turns_and_the_order_alternates(calls, turns, made):
    asked = []

    def contestant(name):
        def call(count):
            asked.append((name, count))
            return [0.5] * count

        return call

    contestants = {name: contestant(name) for name in "abc"}
    given = list(time_in_turns(contestants, calls, turns=turns))
    assert [key for key, _ in given] == [name for name, _ in asked]
    orders = ["abc" if turn % 2 == 0 else "cba" for turn in range(len(made))]
    assert asked == [(name, n) for order, n in zip(orders, made, strict=True) for name in order]
    assert all(seconds == [0.5] * made[0] for _, seconds in given)
