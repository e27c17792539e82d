"""What a command must not print: words of Ray and other libraries to their own developers."""

import re

PATTERNS = {
    "the log of Ray's C++ core": r"\w+\.cc:\d+: ",
    "a message that a raylet publishes to all drivers": r"\(raylet",
    "output of a worker, passed on to its driver": r"\(\w*\s*pid=\d+",
    "a Python logger of Ray's": r"\d\d:\d\d:\d\d,\d{3}\t[A-Z]+ \w+\.py:\d+ -- ",
    "the head of a job's log": r"Running entrypoint for job|raysubmit_",
    "a table of Ray Tune's": r"Logical resource usage|Trial status:|Number of trials:",
    "a bar of tqdm's": r"\d(it/s|s/it)[\],]",
    "a warning of a library's to who calls it": r"\.py:\d+: \w*Warning: ",
    "a code of colour, outside of a terminal": r"\x1b\[",
}
"""What it is → how it is recognised."""


def assert_no_ray_lines(text: str) -> None:
    """Fails with the lines that are none of ours, each with what it is.

    Args:
        text: stdout or stderr of a command, neither of them a terminal.
    """
    found = [
        f"{what}: {line}"
        for line in text.splitlines()
        for what, pattern in PATTERNS.items()
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)
