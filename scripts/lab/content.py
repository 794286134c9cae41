"""Bytes that belong to a name: whoever knows the name and how many knows every one of them, so that an answer which is cut,
mixed up with another or somebody else's is told from the right one."""
import functools, hashlib

BLOCK = 1 << 16


def pieces(name, size):
    """No two blocks are the same: each begins with where it stands."""
    base = hashlib.shake_128(name.encode()).digest(BLOCK)[16:]
    for at in range(0, size, BLOCK):
        yield (at.to_bytes(16, "big") + base)[: size - at]


def whole(name, size):
    return b"".join(pieces(name, size))


@functools.lru_cache(maxsize=16)
def digest(name, size):
    sha = hashlib.sha256()
    for piece in pieces(name, size):
        sha.update(piece)
    return sha.hexdigest()
