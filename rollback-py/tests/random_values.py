"""Random nested plain values."""

import numpy as np

DTYPES = ["?", "i1", "u1", "<i2", ">i4", "<i8", "<u8", "f2", "<f4", ">f8", "c8", "<c16"]


def plain(random, depth=4):
    """Draw a value; `random` is a `random.Random`."""
    if depth == 0 or random.random() < 0.5:
        return atom(random)
    size = random.randrange(5)
    kind = random.randrange(3)
    if kind == 0:
        return [plain(random, depth - 1) for _ in range(size)]
    if kind == 1:
        return tuple(plain(random, depth - 1) for _ in range(size))
    return {key(random, depth - 1): plain(random, depth - 1) for _ in range(size)}


def key(random, depth):
    if depth > 0 and random.random() < 0.2:
        return tuple(key(random, depth - 1) for _ in range(random.randrange(3)))
    return random.choice([integer, text, lambda r: r.random(), lambda r: r.randbytes(2)])(random)


def integer(random):
    return random.randrange(-1, 2) * random.getrandbits(
        random.choice([1, 7, 8, 15, 63, 64, 65, 200])
    )


def text(random):
    return "".join(random.choice("ab\x00é€😀\ud800") for _ in range(random.randrange(5)))


def atom(random):
    kind = random.randrange(9)
    if kind == 0:
        return random.choice([None, True, False])
    if kind == 1:
        return integer(random)
    if kind == 2:
        return random.choice([0.0, -0.0, 1.5, float("nan"), -float("nan"), float("inf"), 1e-320])
    if kind == 3:
        return text(random)
    if kind == 4:
        return random.randbytes(random.randrange(4))
    dtype = np.dtype(random.choice(DTYPES))
    if kind == 5:
        return np.frombuffer(clean(random, dtype, 1), dtype)[0]
    shape = tuple(random.randrange(4) for _ in range(random.randrange(4)))
    array = np.frombuffer(clean(random, dtype, int(np.prod(shape))), dtype).reshape(shape)
    return random.choice([array, array.T, array[::2] if array.ndim else array, array.copy("F")])


def clean(random, dtype, count):
    """Draw bytes of elements; a bool has only two."""
    if dtype.kind == "b":
        return bytes(random.randrange(2) for _ in range(count))
    return random.randbytes(count * dtype.itemsize)
