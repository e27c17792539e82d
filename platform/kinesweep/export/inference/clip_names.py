"""Names of inputs, on which the draws of sampling depend: the same file has the same draws."""

from collections import Counter
from collections.abc import Sequence

from kinesweep.export.raw_inputs import Input


def name_inputs(inputs: Sequence[Input]) -> list[str]:
    """Return a name of each input: its file and span, without folders.

    Inputs of equal names, such as the lines of a text file, are numbered.
    """
    counts: Counter[str] = Counter()
    names = []
    for item in inputs:
        # Sorted, because the order of `--input` must not change the draws.
        parts = [f"{stream}={_name_input(own)}" for stream, own in sorted(item.streams.items())]
        name = "|".join(parts) or _name_input(item)
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def _name_input(item: Input) -> str:
    """Return the name of an input without streams of its own."""
    span = item.span
    extent = "" if span.is_full else f"[{span.start}:{span.end} {span.unit}]"
    # Without folders, so that a copy of a file elsewhere gets the same text.
    return f"{item.file.name}{extent}"
