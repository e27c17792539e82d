"""A stand-in for TensorFlow Datasets: what the process that writes a corpus calls, without
TensorFlow.

Builders are found by name once `sign_language_datasets.datasets` is imported, as in the original.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

BUILDERS: dict[str, type] = {}


def builder_cls(name: str) -> type:
    if name not in BUILDERS:
        raise ValueError(f"Dataset {name} not found")
    return BUILDERS[name]


def as_numpy(dataset: Iterable[Any]) -> Iterator[Any]:
    print("noise of a library on stdout")
    print("noise of a library on stderr", file=sys.stderr)
    return iter(dataset)
