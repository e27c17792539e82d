"""The limit on the size of one media file in memory, checked before the memory is allocated.

A header of a few bytes can declare an array of terabytes, and a compressed archive can hold one.
The kernel would then kill the process that reads it, together with the clips of its chunk.
"""

from functools import cache

from kinesweep.core.errors import ClipError
from kinesweep.core.system.memory import get_memory_limit_bytes
from kinesweep.core.units import format_bytes

MAX_MEMORY_SHARE = 0.25
"""Largest share of the memory that the values of one media file may take. Conversion to features
makes up to three further copies of them."""


@cache
def get_max_decoded_bytes() -> int:
    """Return the largest size in bytes that one media file may have in memory."""
    return int(get_memory_limit_bytes() * MAX_MEMORY_SHARE)


def check_decoded_size(location: str, num_bytes: int) -> None:
    """Check that the values of a media file fit into the memory before they are read.

    Args:
        location: Description of the file or the part of it, for the message.
        num_bytes: Size of the values in memory, as the file declares it.

    Raises:
        ClipError: With reason `too_large`.
    """
    max_bytes = get_max_decoded_bytes()
    if num_bytes > max_bytes:
        raise ClipError(
            f"{location} takes {format_bytes(num_bytes)} in memory, more than the"
            f" {format_bytes(max_bytes)} that one file may take ({MAX_MEMORY_SHARE:.0%} of the"
            " memory); cut it into clips, or select a span of it",
            "too_large",
        )
