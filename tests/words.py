"""A WordNet of few words, in Princeton's format, made by code."""

from collections.abc import Mapping, Sequence
from pathlib import Path

_LETTERS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}


def tiny_wordnet(
    folder: Path, synsets: Mapping[str, Sequence[Sequence[str]]], version: str = "3.0"
) -> Path:
    """Writes what a reader of WordNet opens: `tiny_wordnet(f, {"noun": [["dog", "hound"]]})`."""
    folder.mkdir(parents=True, exist_ok=True)
    head = f"  1 WordNet {version} Copyright 2006 by nobody  \n"
    (folder / "lexnames").write_text("00\tall\t1\n")
    for part, letter in _LETTERS.items():
        data, places = head, dict[str, list[int]]()
        for words in synsets.get(part, ()):
            for word in words:
                places.setdefault(word, []).append(len(data))
            listed = " ".join(f"{word} 0" for word in words)
            data += f"{len(data):08d} 00 {letter} {len(words):02x} {listed} 000 | a gloss  \n"
        lines = [
            f"{word} {letter} {len(at)} 0 {len(at)} 0 {' '.join(f'{n:08d}' for n in at)}  \n"
            for word, at in sorted(places.items())
        ]
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(head + "".join(lines))
        (folder / f"{part}.exc").write_text("")
    return folder
