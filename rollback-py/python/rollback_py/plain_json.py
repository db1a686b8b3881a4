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

# Decimal digits of a longer int take long to find, and Python refuses those of the longest ones.
_INT_BITS_MAX = 1024


def to_json(value: Any) -> str:
    """Return the text of a value that `decode_value` returned. Keys are sorted, all is ASCII."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
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
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(element) for key, element in value.items()}
        pairs = [[_plain(key), _plain(element)] for key, element in value.items()]
        return sorted(pairs, key=to_json)
    return str(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
