from facedistill.export.int8.shared_ranges import SharedRanges
from tests.export.int8.graphs import Builder


def test_a_maximum_decides_on_the_range_of_what_it_compares():
    build = Builder(4, 4, 4)
    one, other = build.conv("x", 4, 4), build.conv("x", 4, 4)
    larger = build.node("Max", one, other)
    last = build.conv(larger, 4, 4)
    ranges = SharedRanges(build.graph(last))
    assert len({ranges.group(value) for value in (one, other, larger)}) == 1
    assert ranges.group(last) != ranges.group(larger)
    assert ranges.deciding(one) == [larger]
    assert ranges.deciding("x") == ["x"]


def test_what_something_else_reads_decides_too():
    build = Builder(4, 4, 4)
    one = build.conv("x", 4, 4)
    scaled = build.conv(one, 4, 4, group=4)
    larger = build.node("Max", one, scaled)
    graph = build.graph(build.conv(larger, 4, 4))
    assert set(SharedRanges(graph).deciding(scaled)) == {one, larger}


def test_below_a_minimum_nothing_may_be_cut_off():
    build = Builder(4, 4, 4)
    one, other = build.conv("x", 4, 4), build.conv("x", 4, 4)
    graph = build.graph(build.node("Min", one, other))
    assert set(SharedRanges(graph).deciding(one)) >= {one, other}


def test_a_reshape_hands_on_its_values_and_not_its_shape():
    build = Builder(4, 4, 4)
    value = build.conv("x", 4, 4)
    flat = build.flat(value, 64)
    ranges = SharedRanges(build.graph(build.gemm(flat, 3, 64), rank=2))
    assert ranges.group(value) == ranges.group(flat)
    assert ranges.deciding(value) == [flat]
    assert all(ranges.group(name) != ranges.group(flat) for name in ("t0", "t2"))


def test_maxima_of_what_no_layer_gives_have_ranges_of_their_own():
    build = Builder(4, 4, 4)
    value = build.conv("x", 4, 4, group=2)
    product = build.node("Mul", value, build.tensor(0.5))
    larger = build.node("Max", value, product)
    ranges = SharedRanges(build.graph(build.conv(larger, 4, 4)))
    assert len({ranges.group(each) for each in (value, product, larger)}) == 3
    assert ranges.deciding(larger) == [larger]
