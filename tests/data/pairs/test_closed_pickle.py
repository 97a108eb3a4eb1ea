import io
import pickle
import struct
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs import closed_pickle
from facedistill.data.pairs.closed_pickle import load_closed_pickle

PROTOCOLS = range(6)
IMAGES = [b"\xff\xd8first", b"", b"\x00\x80\xfe\n'\"\\", bytes(range(256))]


def load(data):
    return load_closed_pickle(io.BytesIO(data), "pairs.bin")


def refused(data, message="pairs.bin"):
    with pytest.raises(FacedistillError, match=message) as caught:
        load(data)
    assert "\n" not in str(caught.value)


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_come_back_in_every_protocol(protocol):
    expected = ([*IMAGES, IMAGES[0]], [True, False, True])
    assert load(pickle.dumps(expected, protocol)) == expected
    assert load(pickle.dumps(list(expected), protocol)) == list(expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back_in_every_protocol(protocol):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    arrays = [
        array,
        array[0],
        np.asfortranarray(array[0]),
        array[:, ::2],
        array[:0],
        array[0],
        array,
    ]
    loaded = load(pickle.dumps(arrays, protocol))
    for one, original in zip(loaded, arrays, strict=True):
        np.testing.assert_array_equal(one, original)
        assert one.dtype == np.uint8
        assert not one.flags.writeable
    assert loaded[0] is loaded[-1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_labels_come_back_in_every_protocol(protocol):
    labels = [True, False, np.True_, np.False_, np.uint8(7), 3, -1, 2**40, 0.5, np.float32(0.25)]
    loaded = load(pickle.dumps(labels, protocol))
    assert loaded == [True, False, True, False, 7, 3, -1, 2**40, 0.5, 0.25]
    assert all(type(value) is bool for value in loaded[:4])
    flags = load(pickle.dumps(np.array([True, False, True]), protocol))
    assert flags.dtype == np.bool_
    assert flags.tolist() == [True, False, True]
    for kind in ("<i8", ">i8", "f4", "u2", "i1"):
        numbers = np.array([[1, 0, 100]], kind)
        np.testing.assert_array_equal(load(pickle.dumps([numbers, numbers], protocol))[1], numbers)


def test_bytearrays_come_back_as_bytes():
    for protocol in PROTOCOLS:
        assert load(pickle.dumps(bytearray(b"\x00\xff"), protocol)) == b"\x00\xff"


def test_python_2_strings_of_every_protocol():
    # Written by hand as cPickle of Python 2.7 does: ([str, str], [bool, bool]).
    text = rb"""((lp1
S'\xff\xd8\x00\n\'"'
p2
aS"it's"
p3
a(lp4
I01
aI00
atp5
."""
    assert load(text) == ([b"\xff\xd8\x00\n'\"", b"it's"], [True, False])
    binary = b"\x80\x02]q\x01(U\x03\xff\xd8\x00T\x04\x00\x00\x00\x80abcq\x02e]q\x03(\x88\x89e\x86."
    assert load(binary) == ([b"\xff\xd8\x00", b"\x80abc"], [True, False])


def test_python_2_arrays():
    # numpy.array([1, 200], numpy.uint8) of Python 2.7 in protocol 2: names and data are str.
    pickled = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01\x8a\x01\x02\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\xc8tb."
    )
    np.testing.assert_array_equal(load(pickled), np.array([1, 200], np.uint8))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (Calls(__import__("os").system, "true"), r"(posix|nt)\.system"),
        (Calls(eval, "1"), r"(builtins|__builtin__)\.eval"),
        (Calls(getattr, b"", "join"), r"(builtins|__builtin__)\.getattr"),
        (Calls(bytes, 10**9), "refused"),
        (Calls(bytearray, 10**9), "refused"),
        (Calls(np.ndarray, (10**9,)), r"a call of numpy\.ndarray"),
        (Calls(np.zeros, 5), "numpy"),
        (Calls(np.dtype, "O"), "numpy.dtype"),
        (np.array([b"x", None], dtype=object), r"numpy\.dtype\('O8'\)"),
        (np.zeros(3, dtype=np.complex64), r"numpy\.dtype\('c8'\)"),
        (np.zeros(3, dtype=[("a", "u1")]), r"numpy\.dtype\('V1'\)"),
        (np.complex128(1), "numpy"),
        (np.ma.array([1, 2]), "numpy.ma"),
        ({"a": 1}, "DICT"),
        (1.5j, "complex"),
        (range(3), "range"),
        (Exception("x"), "Exception"),
    ],
)
def test_everything_else_is_refused_by_name(protocol, hostile, name):
    refused(pickle.dumps([hostile], protocol), name)


def test_nothing_runs(tmp_path):
    import os

    target = tmp_path / "made"
    for protocol in PROTOCOLS:
        refused(pickle.dumps(Calls(os.mkdir, str(target)), protocol), "mkdir")
    assert not target.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"\x80\x02cbuiltins\nobject\n)\x81.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        b"\x80\x02X\x01\x00\x00\x00xQ.",
        b"Pid\n.",
        b"\x82\x01.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
        b"c__builtin__\nbytes\n.b",
    ],
)
def test_handmade_programs_are_refused(program):
    if program.endswith(b".b"):
        # A name alone is data without power: it neither calls nor imports anything.
        assert not callable(load(program[:-1]))
    else:
        refused(program)


LARGE = 1 << 40


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", LARGE) + b"abc.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b"abc.",
        b"\x80\x04\x8d" + struct.pack("<Q", LARGE) + b"abc.",
        b"\x80\x05\x96" + struct.pack("<Q", LARGE) + b"abc.",
        b"\x80\x03B\xff\xff\xff\xffabc.",
        b"\x80\x02T\xff\xff\xff\x7fabc.",
        b"\x80\x02T\xff\xff\xff\xffabc.",
        b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
        b"I" + b"9" * 100_000 + b"\n.",
    ],
)
def test_lengths_beyond_the_file_allocate_nothing(program):
    tracemalloc.start()
    refused(program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_frames_and_memo_keys_reserve_no_memory():
    tracemalloc.start()
    assert load(b"\x80\x04\x95" + struct.pack("<Q", LARGE) + b"C\x01ar\xff\xff\xff\xff.") == b"a"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_one_text_decoded_over_and_over_is_refused():
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    again = b"h\x00h\x01h\x02\x86R"
    start = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x02]("
    assert len(load(start + again + b"e.")[0]) == 100_000
    tracemalloc.start()
    refused(start + again * 5000 + b"e.", "over and over")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_arrays_must_be_as_large_as_their_bytes():
    honest = pickle.dumps(np.arange(200, dtype=np.uint8), 2)
    assert honest.count(b"K\xc8\x85") == 1
    refused(honest.replace(b"K\xc8\x85", b"K\xc9\x85"), r"shape \(201,\) over 200 bytes")
    refused(honest.replace(b"K\xc8\x85", b"J\xff\xff\xff\x7f\x85"), "does not fit in the file")
    refused(honest.replace(b"K\xc8\x85", b"J\xff\xff\xff\xff\x85"), "does not fit in the file")
    newest = pickle.dumps(np.arange(200, dtype=np.uint8), 5)
    assert newest.count(b"K\xc8\x85") == 1
    refused(newest.replace(b"K\xc8\x85", b"K\xc9\x85"), r"shape \(201,\) over 200 bytes")


def test_doubling_and_nesting_end_without_a_crash():
    # Each list holds the one before twice: 2^50 leaves if anything walked them.
    doubling = b"\x80\x02]q\x00" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(50)
    )
    assert len(load(doubling + b".")) == 2
    nested = load(b"\x80\x02)" + b"\x85" * 200_000 + b".")
    assert len(nested) == 1
    cycle = load(b"\x80\x02]q\x00h\x00a.")
    assert cycle[0] is cycle


def test_endless_programs_are_stopped(monkeypatch):
    monkeypatch.setattr(closed_pickle, "MAX_INSTRUCTIONS", 1000)
    assert load(b"(" * 900 + b"N.") is None
    refused(b"(" * 1000 + b"N.", "more than 1,000 instructions")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n", "pairs.bin"),
        (b"\xff\xd8\xff", "not a pickle"),
        (b"N", "cut short"),
        (b".", "damaged"),
        (b"(.", "damaged"),
        (b"e.", "a mark is missing"),
        (b"h\x05.", "recalls value 5"),
        (b"q\x05.", "damaged"),
        (b"NR.", "damaged"),
        (b"S'abc\n.", "without its quotes"),
        (b"S'\\x4'\n.", "damaged"),
        (
            b"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80X\x06\x00\x00\x00latin1\x86R.",
            "no bytes",
        ),
        (
            b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
            "encode to 'zip'",
        ),
    ],
)
def test_damage_is_reported(data, message):
    refused(data, message)


def small_set(protocol):
    images = [np.arange(5, dtype=np.uint8), b"\xff\xd8\x00", b"abc"] if protocol else IMAGES[:3]
    return pickle.dumps((images, [True, np.True_, False]), protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(protocol):
    data = small_set(protocol)
    for length in range(len(data)):
        refused(data[:length])


@settings(max_examples=400, deadline=None)
@given(
    protocol=st.sampled_from(PROTOCOLS),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4),
)
def test_flipped_bits_give_data_or_an_error(protocol, flips):
    data = bytearray(small_set(protocol))
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    with suppress(FacedistillError):
        load(bytes(data))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    b"(",
                    b"]",
                    b")",
                    b"\x85",
                    b"\x86",
                    b"\x87",
                    b"t",
                    b"l",
                    b"a",
                    b"e",
                    b"N",
                    b"\x88",
                ),
                *(b"K\x01", b"C\x01a", b"X\x02\x00\x00\x00u1", b"X\x06\x00\x00\x00latin1"),
                *(b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n", b"R", b"b"),
                *(b"cnumpy.core.multiarray\n_reconstruct\n", b"q\x00", b"h\x00", b"\x94", b"."),
                *(b"cnumpy.core.multiarray\nscalar\n", b"c__builtin__\nbytes\n", b"\x93"),
                b"cnumpy.core.numeric\n_frombuffer\n",
            ]
        ),
        max_size=25,
    )
)
def test_any_program_gives_data_or_an_error(instructions):
    with suppress(FacedistillError):
        load(b"".join(instructions) + b".")


def test_real_files(real_data):
    for name, kind in (("celeba112/celeba_test.bin", bytes), ("small_lfw.bin", np.ndarray)):
        with (real_data / name).open("rb") as file:
            images, same = load_closed_pickle(file, name)
        assert len(images) == 2 * len(same)
        assert {type(image) for image in images} == {kind}
        assert {bytes(image[:2].data) if kind is np.ndarray else image[:2] for image in images} == {
            b"\xff\xd8"
        }
        assert {type(flag) for flag in same} == {bool}
