"""Plain values as JSON text: equal values have the same text on every computer.

JSON has no NaN, no infinities, no bytes, no arrays and only text for keys, so: a number that JSON
lacks is the text ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``, a complex number a pair, bytes their
hexadecimal digits, a tuple or array a list, and a dict with other keys than text a list of pairs.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from rollback_py._rollback import EncodingError, encode_value

# What is merely described when its canonical encoding is longer: a picture in every line of a file
# would fill the disk.
DESCRIBED_BYTES_MAX = 4096

_REPR_CHARS_MAX = 200

# Decimal digits of a longer int take long to find, and Python refuses those of the longest ones.
_INT_BITS_MAX = 1024


def to_json(value: Any) -> str:
    """Return the text of a value that `decode_value` returned. Keys are sorted, all is ASCII."""
    return json.dumps(to_plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))


def to_plain(value: Any) -> Any:
    """Return a value that `encode_value` takes as one that JSON has."""
    # It calls itself at most 64 deep: deeper values are refused when they are decoded.
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _INT_BITS_MAX else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, complex):
        return [to_plain(value.real), to_plain(value.imag)]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [to_plain(element) for element in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: to_plain(element) for key, element in value.items()}
        pairs = [[to_plain(key), to_plain(element)] for key, element in value.items()]
        return sorted(pairs, key=to_json)
    return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def described(value: Any) -> Any:
    """Return any value as one that JSON has: one that is not plain, or long, by its type.

    Such a one is ``{"type": …, "repr": …}`` with the begin of its `repr`, or ``{"type": …,
    "bytes": n}`` with the length of its canonical encoding.
    """
    kind = type(value)
    named = {"type": f"{kind.__module__}.{kind.__qualname__}"}
    try:
        encoded = encode_value(value)
    except EncodingError:
        return {**named, "repr": _short_repr(value)}
    if len(encoded) > DESCRIBED_BYTES_MAX:
        return {**named, "bytes": len(encoded)}
    return to_plain(value)


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # of the user's class: what it raises is all there is to say
        text = f"its repr raises {type(error).__name__}"
    return text[:_REPR_CHARS_MAX]
