"""The ways a command ends early: a mistake the user can mend, or a wish to stop."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_MESSAGE = 1000
"""Characters of a message; names that come out of files may be megabytes."""
_CUT = " [...] "


def escaped(text: str) -> str:
    """Return text whose lines say nothing to a terminal: what does not print is escaped."""
    return "\n".join(_escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def printable(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return text as one line of at most `limit` characters that says nothing to a terminal.

    Names that come out of files may hold anything: what does not print is escaped, and the middle
    of a long text is left out.
    """
    return _shortened(_escaped(_shortened(text, limit)), limit)


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    tail = limit // 3
    return text[: limit - len(_CUT) - tail] + _CUT + text[-tail:]


class FacedistillError(Exception):
    """A user's mistake: one line that names the thing and the remedy.

    The command line prints the message without a traceback and leaves with `exit_code`.

    Args:
        message: The line; see `printable`.
        details: Lines to be printed before it, one for each of many things of one kind.
    """

    exit_code = 2

    def __init__(self, message: str, details: Iterable[str] = ()) -> None:
        super().__init__(printable(message))
        self.details = tuple(printable(line) for line in details)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Prefix errors with what they concern, such as a recipe's key or a row."""
    try:
        yield
    except FacedistillError as error:
        raise FacedistillError(f"{what}: {error}", error.details) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Interrupted(BaseException):
    """A command was asked to stop (SIGTERM, SIGHUP, Ctrl-C); the message says what it leaves.

    The command line leaves with `exit_code`, which means: run the same command again to go on. As
    it may come at any moment, it is none of the exceptions that libraries catch and pass over.
    """

    exit_code = 75
