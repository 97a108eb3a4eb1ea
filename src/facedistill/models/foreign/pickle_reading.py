"""What a pickle describes, read without building any of it.

Nothing named in the file is imported, called or created: a class or function stays a `Name`, an
object of one an `Opaque`. Containers are Python's own. Memory and time are in proportion to the
file's size, whatever its operations say.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, Protocol, cast

MOST_OPERATIONS = 2_000_000
"""More than the state dict and settings of any trainer take."""

_KEYS = (str, int, float, bytes, type(None))
"""What a dictionary's key may be: others can take exponential time to compare."""

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE8"}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_VALUES = _TEXTS | _BYTES | _NUMBERS
"""Operations whose argument is the value."""


class Readable(Protocol):
    """A file or what reads like one."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""

    def readline(self) -> bytes:
        """Return the rest of a line."""


class Bounded:
    """A file whose reads take no more memory than it has bytes left, whatever is asked for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, all that are left if it is negative."""
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))

    def readline(self) -> bytes:
        """Return the rest of a line, or its first mebibyte."""
        return self._file.readline(1 << 20)


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names.

    Attributes:
        path: Its module and name, `torch.nn.modules.linear.Linear`.
    """

    path: str


@dataclass(eq=False)
class Opaque:
    """An object that stays unbuilt.

    Attributes:
        path: Module and name of what would build it.
        items: What would be put into it by key.
        state: What would be set as its state.
    """

    path: str
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


Build = Callable[[str, tuple[Any, ...]], Any]
"""Returns what stands for an object of a class, or result of a function, by its path."""


def read_pickle(file: Readable, build: Build, persistent: Callable[[Any], Any]) -> Any:
    """Read one pickle.

    Args:
        file: Stands at its beginning and will stand at its end.
        build: Called for every object the pickle would create, with the path of its class or
            function and the arguments; `Opaque(path)` is a fitting answer.
        persistent: Called for what the pickle refers to outside itself.

    Returns:
        Numbers, texts, lists (sets too), tuples, dictionaries, and what `build` and `persistent`
        return. Dictionaries lack entries whose key is no number or text.

    Raises:
        ValueError: If it is no pickle, is damaged or has too many operations.
    """
    machine = _Machine(build, persistent)
    try:
        with warnings.catch_warnings():
            # Of texts that old protocols escape: what a file holds is no matter for the terminal.
            warnings.filterwarnings("ignore", "invalid escape sequence", DeprecationWarning)
            for count, (operation, argument, _) in enumerate(
                pickletools.genops(cast(IO[bytes], file))
            ):
                if count > MOST_OPERATIONS:
                    raise ValueError(f"it pickles more than {MOST_OPERATIONS:,} values")
                if operation.name == "STOP":
                    break
                machine.run(operation.name, argument)
        return machine.stack.pop()
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__})") from None


class _Mark:
    """Where a group of values begins on the stack."""


class _Machine:
    """The stack machine of a pickle; every operation is a method of its name."""

    def __init__(self, build: Build, persistent: Callable[[Any], Any]) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._build, self._persistent = build, persistent

    def run(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _OPERATIONS:
            _OPERATIONS[name](self, argument)
        else:
            raise ValueError(f"its pickle has the operation {name}, which torch.save never writes")

    def group(self) -> list[Any]:
        """Take the values above the last mark, and the mark, off the stack."""
        at = len(self.stack) - 1
        while not isinstance(self.stack[at], _Mark):
            at -= 1
            if at < 0:
                raise ValueError("its pickle is damaged (no mark)")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def named(self, argument: str) -> None:
        self.stack.append(Name(argument.replace(" ", ".")))

    def named_on_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("its pickle is damaged (a name that is no text)")
        self.stack.append(Name(f"{module}.{name}"))

    def made(self, kind: Any, arguments: Any) -> None:
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise ValueError("its pickle is damaged (a call of no function)")
        self.stack.append(self._build(kind.path, arguments))

    def reduce(self, _: Any) -> None:
        arguments = self.stack.pop()
        self.made(self.stack.pop(), arguments)

    def new_with_keywords(self, _: Any) -> None:
        self.stack.pop()
        self.reduce(None)

    def instance(self, argument: str) -> None:
        arguments = tuple(self.group())
        self.made(Name(argument.replace(" ", ".")), arguments)

    def instance_on_stack(self, _: Any) -> None:
        kind, *arguments = self.group()
        self.made(kind, tuple(arguments))

    def set_state(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].state = state

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Opaque) else target
        if not isinstance(items, dict) or len(values) % 2:
            raise ValueError("its pickle is damaged (an entry of no dictionary)")
        items.update(_entries(values))

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def add(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Opaque):
            raise ValueError("its pickle is damaged (an entry of no list)")

    def append(self, _: Any) -> None:
        value = self.stack.pop()
        self.add([value])

    def last(self, count: int) -> None:
        values = self.stack[-count:]
        if len(values) < count:
            raise IndexError
        del self.stack[-count:]
        self.stack.append(tuple(values))


def _entries(values: list[Any]) -> dict[Any, Any]:
    pairs = zip(values[::2], values[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, _KEYS)}


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.stack.append(_Mark()),
    "POP": lambda machine, _: machine.stack.__delitem__(-1),
    "POP_MARK": lambda machine, _: machine.group().clear(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_SET": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "LIST": lambda machine, _: machine.stack.append(machine.group()),
    "FROZENSET": lambda machine, _: machine.stack.append(machine.group()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.group())),
    "DICT": lambda machine, _: machine.stack.append(_entries(machine.group())),
    "TUPLE1": lambda machine, _: machine.last(1),
    "TUPLE2": lambda machine, _: machine.last(2),
    "TUPLE3": lambda machine, _: machine.last(3),
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: machine.add(machine.group()),
    "ADDITEMS": lambda machine, _: machine.add(machine.group()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.group()),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": _Machine.named_on_stack,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "INST": _Machine.instance,
    "OBJ": _Machine.instance_on_stack,
    "BUILD": _Machine.set_state,
    "BINPERSID": lambda machine, _: machine.stack.append(machine._persistent(machine.stack.pop())),
}
