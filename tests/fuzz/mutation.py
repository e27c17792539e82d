"""Mutations of files: cut off, bits flipped, spliced, deleted, with other numbers; seeded."""

import random
import re
import struct
from collections.abc import Callable

NUMBERS = ("-1", "0", "1e308", "-1e308", "nan", "NaN", "inf", "-inf", "99999999999999999999", "1,5")
WORDS = ("..", "../../outside/secret", "/etc/passwd", "\x00", "\ufeff", "null", "{}", "[]", "é", "")
PACKED = (
    *(struct.pack("<i", n) for n in (-1, 0, 2**31 - 1, -(2**31))),
    *(struct.pack("<q", n) for n in (-1, 2**63 - 1, 2**40)),
    *(struct.pack("<f", x) for x in (float("nan"), float("inf"), -1.0, 3e38)),
    *(struct.pack(">I", n) for n in (0xFFFFFFFF, 0x7FFFFFFF)),
    b"\xff\xff",
    b"\x00\x00",
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def splice(content: bytes, rng: random.Random) -> bytes:
    """Puts a part of the file somewhere else, over what is there or between it."""
    start, place = rng.randrange(len(content)), rng.randrange(len(content))
    part = content[start : start + rng.randint(1, 200)]
    return content[:place] + part + content[place + rng.choice((0, len(part))) :]


def delete(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 2, 8, 100)) :]


def change_number(content: bytes, rng: random.Random) -> bytes:
    """Replaces a number of a text by an impossible one."""
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return overwrite(content, rng)
    match = rng.choice(numbers)
    return content[: match.start()] + rng.choice(NUMBERS).encode() + content[match.end() :]


def overwrite(content: bytes, rng: random.Random) -> bytes:
    """Puts an extreme binary number over what is there; most often near the beginning."""
    end = rng.choice((64, 512, len(content)))
    place, packed = rng.randrange(min(end, len(content))), rng.choice(PACKED)
    return content[:place] + packed + content[place + len(packed) :]


def insert_word(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + rng.choice(WORDS).encode() + content[place:]


def shuffle_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first] = lines[second]
    return b"\n".join(lines)


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(truncate, flip_bits, splice, delete, change_number, overwrite, insert_word, shuffle_lines),
)


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Returns the content after one to three mutations; an empty file stays empty."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if content:
            content = rng.choice(MUTATIONS)(content, rng)
    return content
