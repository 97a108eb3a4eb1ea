"""Protocol buffers, the messages in which networks are stored, walked without a library."""

from __future__ import annotations

from collections.abc import Iterator


def fields_of(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the values of a message's field of bytes, in order.

    Args:
        message: The bytes of one message.
        wanted: The field's number.

    Raises:
        ValueError: If the bytes are no protocol buffer.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        size = {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 == 0:
            _, place = _varint(message, place)
        elif tag & 7 == 2:
            size, place = _varint(message, place)
        elif not size:
            raise ValueError(f"a field of unknown kind {tag & 7}")
        if place + size > len(message):
            raise ValueError("it ends in the middle of a field")
        if tag == wanted << 3 | 2:
            yield message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte and the place behind it."""
    number = shift = 0
    while True:
        if place >= len(message) or shift > 63:
            raise ValueError("it ends in the middle of a number")
        byte = message[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place


def field(number: int, value: int | bytes) -> bytes:
    """Return a field of a message as it is written.

    Args:
        number: The field's number.
        value: A number of at least 0, or the bytes of a string, a message or raw data.
    """
    if isinstance(value, int):
        return _written(number << 3) + _written(value)
    return _written(number << 3 | 2) + _written(len(value)) + value


def _written(number: int) -> bytes:
    """Return a number of at least 0 in 7 bits a byte."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
