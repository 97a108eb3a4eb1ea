"""Products of 8-bit integers on one core, by ONNX Runtime: NumPy has no fast ones."""

from __future__ import annotations

import numpy as np
import onnxruntime

from facedistill.core.protobuf import field
from facedistill.runtime.session import CPU, exact_options

_OPSET, _IR = 13, 7
_UINT8, _INT8, _INT32 = 2, 3, 6
"""Element types of an ONNX file."""
_ZERO = 128


class Int8Product:
    """A matrix of 8-bit integers, laid out once for products with few rows at a time.

    Args:
        rows: int8 (N, D).
        threads: CPU threads.
    """

    def __init__(self, rows: np.ndarray, threads: int) -> None:
        self._session = onnxruntime.InferenceSession(
            _graph(np.ascontiguousarray(rows.T)), exact_options(threads), providers=list(CPU)
        )

    def __call__(self, probes: np.ndarray) -> np.ndarray:
        """Return the products of probes, int8 (P, D), with the rows: int32 (P, N)."""
        # The fast product is of unsigned with signed bytes.
        unsigned = probes.view(np.uint8) ^ np.uint8(_ZERO)
        products: np.ndarray = self._session.run(None, {"probes": unsigned})[0]
        return products


def _graph(columns: np.ndarray) -> bytes:
    """Return an ONNX file of one MatMulInteger whose right side is `columns`, int8 (D, N)."""
    inputs = b"".join(field(1, name) for name in (b"probes", b"columns", b"zero"))
    node = inputs + field(2, b"products") + field(4, b"MatMulInteger")
    graph = b"".join(
        (
            field(1, node),
            field(2, b"int8_product"),
            field(5, _tensor(b"columns", _INT8, columns.shape, columns.tobytes())),
            field(5, _tensor(b"zero", _UINT8, (), bytes([_ZERO]))),
            field(11, _matrix(b"probes", _UINT8)),
            field(12, _matrix(b"products", _INT32)),
        )
    )
    return field(1, _IR) + field(7, graph) + field(8, field(2, _OPSET))


def _tensor(name: bytes, kind: int, shape: tuple[int, ...], content: bytes) -> bytes:
    dimensions = b"".join(field(1, side) for side in shape)
    return dimensions + field(2, kind) + field(8, name) + field(9, content)


def _matrix(name: bytes, kind: int) -> bytes:
    """Return the description of a matrix of any two sides."""
    shape = field(1, b"") * 2
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))
