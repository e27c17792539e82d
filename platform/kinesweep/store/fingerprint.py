"""Names for what a store holds: hashes of media, keys of clips, the fingerprint of a corpus.

A clip's key names its features: the bytes of its media file and of what is read beside it (or its
own part of files that hold many clips, as the source tells), the span, how the file is read, the
feature step and the type on disk. Modification times are not trusted; content is hashed, in threads
(hashlib lets go of the interpreter): about 1.5 GB/s a core. The store's fingerprint covers the keys
and texts of all clips in order, and the rows known to be bad; it does not cover where a row stood,
so a renamed table is no new corpus.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import canonical_json, file_sha256, fingerprint
from kinesweep.core.media import is_picture
from kinesweep.sources.contract import Content

STORE_FORMAT = 2
"""Layout of a store and meaning of a key; a change makes every clip new."""

_WHOLE_BYTES = 16_000_000
"""Up to here a file is read in one call: for poses twice as fast as hashing in blocks."""


def hash_media(paths: Iterable[Path]) -> dict[Path, Content | ClipError]:
    """Content hash of each distinct file, or why it cannot be read."""
    unique = list(dict.fromkeys(paths))
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(unique, pool.map(_hash_file, unique), strict=True))


def _hash_file(path: Path) -> Content | ClipError:
    """One file's content, or the error that is counted for its clips."""
    if path.is_dir():
        return _hash_pictures(path)
    try:
        size = path.stat().st_size
        if size > _WHOLE_BYTES:
            return Content(file_sha256(path), size)
        content = path.read_bytes()
    except OSError as error:
        return ClipError(f"`{path}` cannot be read: {error.strerror}", reason="unreadable")
    return Content(hashlib.sha256(content).hexdigest(), len(content))


def _hash_pictures(folder: Path) -> Content | ClipError:
    """A folder of pictures: their names and contents."""
    found = [(path.name, _hash_file(path)) for path in sorted(filter(is_picture, folder.iterdir()))]
    for _, media in found:
        if isinstance(media, ClipError):
            return media
    whole = [(name, media) for name, media in found if isinstance(media, Content)]
    marks = [[name, media.sha256] for name, media in whole]
    return Content(fingerprint(marks), sum(media.num_bytes for _, media in whole))


def media_of(
    contents: Mapping[Path, Content | ClipError], paths: Sequence[Path]
) -> Content | ClipError:
    """A clip's content: that of its file, or of all its files in order.

    Args:
        contents: as `hash_media` gives them.
        paths: the clip's file, and its companions.
    """
    found: list[Content] = []
    for media in map(contents.__getitem__, paths):
        if isinstance(media, ClipError):
            return media
        found.append(media)
    if len(found) == 1:
        return found[0]
    marks = [media.sha256 for media in found]
    return Content(fingerprint(marks), sum(media.num_bytes for media in found))


def clip_key(clip: Clip, media_sha256: str, recipe_part: Mapping[str, object]) -> str:
    """64 hexadecimal digits that name a clip's features.

    Args:
        clip: only its span counts.
        media_sha256: hash of the content of the clip's files.
        recipe_part: how the file is read, the feature step's fingerprint, the type on disk.
    """
    bounds = [None if bound is None else float(bound) for bound in (clip.span.start, clip.span.end)]
    value = [STORE_FORMAT, media_sha256, bounds, clip.span.unit, dict(recipe_part)]
    return fingerprint(value)


def split_fingerprint(clips: Sequence[tuple[Clip, str]]) -> str:
    """64 hexadecimal digits that name the clips of a split, in order, and all that is said of them.

    Args:
        clips: each clip with its key.
    """
    digest = hashlib.sha256()
    for clip, key in clips:
        names = [clip.id, clip.split, clip.media, clip.document, clip.order, clip.signer]
        names += [clip.corpus] if clip.corpus else []
        texts = [clip.texts, clip.encoder_prompt, clip.decoder_prompt, clip.gloss, clip.language]
        words: list[object] = [clip.keywords] if clip.keywords else []
        words += [clip.reference] if clip.reference else []  # text: never taken for keywords
        digest.update(canonical_json([names, texts, key, *words]).encode())
    return digest.hexdigest()


def problems_fingerprint(problems: Sequence[RowProblem]) -> str:
    """64 hexadecimal digits that name the bad rows, not where they stand."""
    return fingerprint([[problem.clip_id, problem.reason] for problem in problems])
