"""Reading pickles as data: a small machine that knows no code.

A pickle is a program for a stack machine, and Python's own interpreter of it may call anything
that can be imported. Verification sets (`.bin`) come as pickles of unknown
origin, written by Python 2 and 3 in every protocol, so they are read by a machine that knows only
what lists of images need:
lists, tuples, byte strings, text, bools, integers and uint8 or bool NumPy arrays. Nothing is
imported and nothing is called by name: the few names that may occur stand for functions below.

Memory stays within ten times the file plus 200 bytes an instruction, of which there may be
`MAX_INSTRUCTIONS`: no length is believed before the bytes are there, and what text and arrays can
grow to when a file asks for the same bytes again and again is limited by the file's size.
"""

from __future__ import annotations

import codecs
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO, NoReturn

import numpy as np

from facedistill.core.errors import FacedistillError

MAX_FILE_BYTES = 4 << 30
MAX_INSTRUCTIONS = 4_000_000
"""A set of 12,000 images takes 36,000 to 350,000."""

_MAX_AXES = 8
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_MARK = object()
_BYTE_TYPES = {
    **dict.fromkeys(("uint8", "B"), np.dtype(np.uint8)),
    **dict.fromkeys(("bool", "?"), np.dtype(np.bool_)),
}
_ARRAY_TYPES = _BYTE_TYPES | {
    f"{order}{name}": np.dtype(name)
    for name in (*("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"), *("f2", "f4", "f8"))
    for order in ("", "|" if name.endswith("1") else "<")
}


def load_closed_pickle(file: BinaryIO, where: str) -> Any:
    """Read one pickle made of lists, tuples, bytes, text, bools, numbers and arrays of them.

    Args:
        file: The pickle, from its present position to its end.
        where: What to call it in messages: its path.

    Returns:
        What was pickled. Byte strings of Python 2 and bytearrays come as `bytes`, arrays read-only,
        NumPy scalars as int, float and bool.

    Raises:
        FacedistillError: If the pickle is cut short or damaged, larger than `MAX_FILE_BYTES`, or
            asks for any other type; the message names the type and the byte.
    """
    # Asked first: reading a number of bytes reserves memory for all of them.
    start = file.tell()
    size = file.seek(0, SEEK_END) - start
    if size > MAX_FILE_BYTES:
        raise FacedistillError(f"{where} is a pickle of more than {MAX_FILE_BYTES:,} bytes")
    file.seek(start)
    data = file.read(size)
    if not data:
        raise FacedistillError(f"{where} is empty")
    return ClosedUnpickler(data, where).load()


class ClosedUnpickler:
    """The machine: a pickle's bytes, a stack and a memo.

    Args:
        data: The pickle.
        where: What to call it in messages.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self.size = len(data)
        self.stream = BytesIO(data)
        self.position = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # Bytes come twice at most: once decoded from text, once as an array.
        self.budget = 2 * len(data)

    def load(self) -> Any:
        """Run the pickle and return what it leaves on the stack.

        Raises:
            FacedistillError: See `load_closed_pickle`.
        """
        for _ in range(MAX_INSTRUCTIONS):
            name, argument = self._read()
            if name == "STOP":
                return self._pop(object)
            if name not in _INSTRUCTIONS:
                self._refuse(f"something else (pickle {name})")
            _INSTRUCTIONS[name](self, argument)
        self._fail(f"has more than {MAX_INSTRUCTIONS:,} instructions")

    def _read(self) -> tuple[str, Any]:
        """Return the next instruction's name and argument."""
        self.position = self.stream.tell()
        code = self.stream.read(1).decode("latin-1")
        if not code:
            self._fail("is cut short: the file ends before the pickle does")
        if code not in _OPCODES:
            self._fail("is not a pickle or is damaged")
        opcode = _OPCODES[code]
        try:
            if opcode.name == "STRING":
                # The standard reader of it takes ASCII only; Python 2 wrote images with it.
                return opcode.name, _quoted(self.stream.readline())
            return opcode.name, opcode.arg.reader(self.stream) if opcode.arg else None
        except ValueError as error:
            self._fail(f"is cut short or damaged: {error}")

    def _fail(self, what: str) -> NoReturn:
        raise FacedistillError(f"{self.where} {what} (byte {self.position:,})")

    def _refuse(self, what: str) -> NoReturn:
        self._fail(
            f"asks for {what}: refused, only images (bytes, uint8 arrays) and labels (bools, "
            "numbers) are read"
        )

    def _spend(self, count: int) -> None:
        self.budget -= count
        if self.budget < 0:
            self._fail("is damaged: it uses the same bytes over and over")

    # Instructions on the stack and the memo.

    def _pop(self, kind: type | tuple[type, ...]) -> Any:
        if not self.stack or self.stack[-1] is _MARK or not isinstance(self.stack[-1], kind):
            self._fail("is damaged: the stack does not hold what the next instruction needs")
        return self.stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        self._fail("is damaged: a mark is missing")

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _push_tuple(self, length: int) -> None:
        items = [self._pop(object) for _ in range(length)]
        self._push(tuple(reversed(items)))

    def _extend(self, items: list[Any]) -> None:
        target = self._pop(list)
        target.extend(items)
        self._push(target)

    def _put(self, key: int) -> None:
        value = self._pop(object)
        self.memo[key] = value
        self._push(value)

    def _get(self, key: int) -> None:
        if key not in self.memo:
            self._fail(f"is damaged: it recalls value {key}, which it never stored")
        self._push(self.memo[key])

    # Instructions that, in Python, look up names and call them.

    def _global(self, name: str) -> None:
        if name not in _NAMES:
            self._refuse(_printable(name.replace(" ", ".")))
        self._push(_NAMES[name])

    def _stack_global(self) -> None:
        name = self._pop(str)
        self._global(f"{self._pop(str)} {name}")

    def _reduce(self) -> None:
        arguments = self._pop(tuple)
        self._push(self._pop(_Name).call(self, *_at_most_four(arguments)))

    def _build(self) -> None:
        state = self._pop(tuple)
        target = self._pop((np.ndarray, _ArrayType))
        if isinstance(target, _ArrayType) and len(state) > 1 and state[1] in (">", b">"):
            target.dtype = target.dtype.newbyteorder(">")
        if isinstance(target, np.ndarray):
            if len(state) != 5 or target.size:
                self._fail("is damaged: an array is filled with what is no array's content")
            _, shape, dtype, fortran, data = state
            self._check_array(data, dtype, shape)
            # NumPy takes a plain bool here and refuses the NumPy bool that its stub asks for.
            content = (1, shape, dtype.dtype, fortran is True, data)
            target.__setstate__(content)  # type: ignore[arg-type]
            target.setflags(write=False)
        self._push(target)

    def _check_array(self, data: Any, dtype: Any, shape: Any) -> None:
        if not isinstance(data, bytes) or not isinstance(dtype, _ArrayType):
            self._refuse(f"an array of {_printable(type(data).__name__)}")
        if not isinstance(shape, tuple) or len(shape) > _MAX_AXES:
            self._fail("is damaged: an array's shape is none")
        if not all(type(side) is int and 0 <= side <= self.size for side in shape):
            self._fail("is damaged: an array's shape does not fit in the file")
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            self._fail(f"is damaged: an array of shape {shape} over {len(data):,} bytes")
        self._spend(len(data))

    # What the allowed names do.

    def _encode(self, text: Any, encoding: Any, *_: Any) -> bytes:
        """Stand for `_codecs.encode`, by which Python 3 writes bytes in protocols 0 to 2."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            self._refuse(f"_codecs.encode to {_printable(repr(encoding))}")
        self._spend(len(text))
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            self._fail("is damaged: a byte string holds characters that are no bytes")

    def _bytes(self, text: Any, encoding: Any, *rest: Any) -> bytes:
        """Stand for `bytes()`, by which protocols 0 to 2 write empty ones, and `bytearray(...)`."""
        if (text, encoding) == (None, None):
            return b""
        if isinstance(text, bytes):
            return text
        return self._encode(text, encoding, *rest)

    def _dtype(self, name: Any, *_: Any) -> _ArrayType:
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        if not isinstance(name, str) or name not in _ARRAY_TYPES:
            self._refuse(f"numpy.dtype({_printable(repr(name))})")
        return _ArrayType(_ARRAY_TYPES[name])

    def _empty_array(self, kind: Any, *_: Any) -> np.ndarray:
        """Stand for `_reconstruct`: the array gets its shape and content from BUILD."""
        if kind is not _NDARRAY:
            self._refuse("an array of a class of its own")
        return np.empty(0, np.uint8)

    def _array_over(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        """Stand for `_frombuffer`, by which NumPy writes arrays in protocol 5."""
        shape = shape if isinstance(shape, tuple) else (shape,)
        self._check_array(data, dtype, shape)
        return np.ndarray(shape, dtype.dtype, data, order="F" if order == "F" else "C")

    def _scalar(self, dtype: Any, data: Any, *_: Any) -> bool | int | float:
        if not isinstance(dtype, _ArrayType) or not isinstance(data, bytes):
            self._refuse("a NumPy scalar of another type")
        if len(data) != dtype.dtype.itemsize:
            self._fail(f"is damaged: a NumPy scalar of {len(data):,} bytes")
        value: bool | int | float = np.frombuffer(data, dtype.dtype).item()
        return value

    def _uncallable(self, *_: Any) -> NoReturn:
        self._refuse("a call of numpy.ndarray")


@dataclass
class _ArrayType:
    """A type of arrays; its byte order comes later, when others may have recalled it already."""

    dtype: np.dtype


@dataclass(frozen=True)
class _Name:
    """What an allowed name stands for."""

    call: Callable[..., Any]


_NDARRAY = _Name(ClosedUnpickler._uncallable)
_NAMES = {
    "_codecs encode": _Name(ClosedUnpickler._encode),
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _Name(ClosedUnpickler._dtype),
    **{
        f"{builtins} {name}": _Name(ClosedUnpickler._bytes)
        for builtins in ("__builtin__", "builtins")
        for name in ("bytes", "bytearray")
    },
    **{
        f"numpy.{core}.{module} {name}": _Name(function)
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", ClosedUnpickler._empty_array),
            ("multiarray", "scalar", ClosedUnpickler._scalar),
            ("numeric", "_frombuffer", ClosedUnpickler._array_over),
        )
    },
}

_Instruction = Callable[[ClosedUnpickler, Any], None]
_INSTRUCTIONS: dict[str, _Instruction] = {
    # Values that the pickle carries.
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
            *("FLOAT", "BINFLOAT"),
            *("STRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
            *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        ),
        ClosedUnpickler._push,
    ),
    "SHORT_BINSTRING": lambda machine, text: machine._push(text.encode("latin-1")),
    "BINSTRING": lambda machine, text: machine._push(text.encode("latin-1")),
    "BYTEARRAY8": lambda machine, data: machine._push(bytes(data)),
    "NONE": lambda machine, _: machine._push(None),
    "NEWTRUE": lambda machine, _: machine._push(True),
    "NEWFALSE": lambda machine, _: machine._push(False),
    # Lists and tuples.
    "MARK": lambda machine, _: machine._push(_MARK),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "LIST": lambda machine, _: machine._push(machine._pop_to_mark()),
    "APPEND": lambda machine, _: machine._extend([machine._pop(object)]),
    "APPENDS": lambda machine, _: machine._extend(machine._pop_to_mark()),
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "TUPLE1": lambda machine, _: machine._push_tuple(1),
    "TUPLE2": lambda machine, _: machine._push_tuple(2),
    "TUPLE3": lambda machine, _: machine._push_tuple(3),
    "TUPLE": lambda machine, _: machine._push(tuple(machine._pop_to_mark())),
    # The memo, by which an object that occurs twice is written once.
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), ClosedUnpickler._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), ClosedUnpickler._get),
    "MEMOIZE": lambda machine, _: machine._put(len(machine.memo)),
    # Names and calls.
    "GLOBAL": ClosedUnpickler._global,
    "STACK_GLOBAL": lambda machine, _: machine._stack_global(),
    "REDUCE": lambda machine, _: machine._reduce(),
    "BUILD": lambda machine, _: machine._build(),
    # The protocol's number, and frames, which only help to read ahead.
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
}


def _quoted(line: bytes) -> bytes:
    """Return the bytes that a Python 2 string literal stands for."""
    text = line.strip()
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
        raise ValueError("a string without its quotes")
    return codecs.escape_decode(text[1:-1])[0]


def _at_most_four(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return exactly four arguments, None for those that were not given."""
    return (*arguments[:4], *(None,) * (4 - len(arguments)))


def _printable(text: str) -> str:
    return text[:80].encode("ascii", "backslashreplace").decode().replace("\n", " ")
