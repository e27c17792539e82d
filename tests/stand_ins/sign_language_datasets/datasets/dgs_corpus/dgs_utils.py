"""Readers of the annotations that the stand-in's documents name, in the form of the original's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def get_elan_sentences(elan_path: str) -> Iterator[dict[str, Any]]:
    lines = Path(elan_path).read_text().splitlines()
    # One person after the other, although B signs first.
    for participant, start, line in zip("AB", (200, 40), lines, strict=True):
        number, german, glosses = line.split("\t")
        words = [
            {"start": start + 20 * k, "end": start + 20 * k + 10, "gloss": gloss, "hand": "r"}
            for k, gloss in enumerate(glosses.split())
        ]
        yield {
            "id": f"s{Path(number).stem}",
            "participant": participant,
            "start": start,
            "end": start + 400,
            "german": german,
            "english": None,
            "glosses": words[::-1],
            "mouthings": [],
        }


def get_signer_ids_from_ilex(ilex_path: str) -> dict[str, list[str]]:
    return {"a": ["SH-12"], "b": ["SH-13"], "c": ["SH-13", "SH-12", "mod"]}
