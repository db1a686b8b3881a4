"""The canonical encoding of plain values, written again from its description and nothing else."""

import math
import struct

import numpy as np


def encode(value):
    if value is None:
        return b"N"
    if value is True:
        return b"T"
    if value is False:
        return b"F"
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"))
        head = b"a" + _name(little.dtype.str) + bytes([value.ndim])
        return head + b"".join(struct.pack("<Q", n) for n in value.shape) + little.tobytes()
    if isinstance(value, np.generic):
        little = value.dtype.newbyteorder("<")
        return b"n" + _name(little.str) + np.asarray(value).astype(little).tobytes()
    if type(value) is int:
        length = value.bit_length() // 8 + 1
        return b"i" + _count(length) + value.to_bytes(length, "little", signed=True)
    if type(value) is float:
        if math.isnan(value):
            return b"f" + bytes.fromhex("000000000000f87f")
        return b"f" + struct.pack("<d", value)
    if type(value) is str:
        raw = value.encode("utf-8", "surrogatepass")
        return b"s" + _count(len(raw)) + raw
    if type(value) is bytes:
        return b"b" + _count(len(value)) + value
    if type(value) in (list, tuple):
        tag = b"l" if type(value) is list else b"t"
        return tag + _count(len(value)) + b"".join(encode(element) for element in value)
    if type(value) is dict:
        items = sorted((encode(key), encode(element)) for key, element in value.items())
        return b"d" + _count(len(value)) + b"".join(key + element for key, element in items)
    raise TypeError(type(value))


def _count(count):
    return struct.pack("<I", count)


def _name(name):
    return _count(len(name)) + name.encode()
