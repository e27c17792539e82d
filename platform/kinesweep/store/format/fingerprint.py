"""Fingerprints of a store's contents: hashes of media, keys of clips, fingerprint of a corpus.

The key of a clip identifies its features. It covers the bytes of the media file and its auxiliary
files (or, for files that hold many clips, the clip's own part as reported by the source), the span,
how the file is read, the feature step and the stored dtype. Modification times are not trusted;
content is hashed in threads (hashlib releases the GIL) at about 1.5 GB/s per core. The store's
fingerprint covers the keys and texts of all clips in order and the rows known to be bad. It does
not cover the position of a row in its table, so renaming a table does not create a new store.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import canonical_json, file_sha256, fingerprint
from kinesweep.core.video_files import is_picture
from kinesweep.sources.base import MediaDigest

STORE_FORMAT = 2
"""Version of the store layout and of clip keys; a change recomputes every clip."""

_WHOLE_BYTES = 16_000_000
"""Size up to which a file is read in one call; twice as fast for poses as hashing in blocks."""


def hash_media(paths: Iterable[Path]) -> dict[Path, MediaDigest | ClipError]:
    """Return the content hash of each distinct file, or the reason why it cannot be read."""
    unique = list(dict.fromkeys(paths))
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(unique, pool.map(_hash_media_path, unique), strict=True))


def _hash_media_path(path: Path) -> MediaDigest | ClipError:
    """Return the SHA-256 and size of a file or image folder, or a `ClipError` if unreadable."""
    if path.is_dir():
        return _hash_pictures(path)
    try:
        size = path.stat().st_size
        if size > _WHOLE_BYTES:
            return MediaDigest(file_sha256(path), size)
        content = path.read_bytes()
    except OSError as error:
        return ClipError(f"`{path}` cannot be read: {error.strerror}", reason="unreadable")
    return MediaDigest(hashlib.sha256(content).hexdigest(), len(content))


def _hash_pictures(folder: Path) -> MediaDigest | ClipError:
    """Return the size of a folder of images, and a hash over their names and contents."""
    # Sorted because the order of `iterdir` differs between file systems.
    found = [
        (path.name, _hash_media_path(path)) for path in sorted(filter(is_picture, folder.iterdir()))
    ]
    for _, media in found:
        if isinstance(media, ClipError):
            return media
    whole = [(name, media) for name, media in found if isinstance(media, MediaDigest)]
    marks = [[name, media.sha256] for name, media in whole]
    return MediaDigest(fingerprint(marks), sum(media.num_bytes for _, media in whole))


def media_of(
    contents: Mapping[Path, MediaDigest | ClipError], paths: Sequence[Path]
) -> MediaDigest | ClipError:
    """Return the content of a clip: its only file, or all its files in order.

    Args:
        contents: Contents as returned by `hash_media`.
        paths: Media file of the clip, followed by its auxiliary files.
    """
    found: list[MediaDigest] = []
    for media in map(contents.__getitem__, paths):
        if isinstance(media, ClipError):
            return media
        found.append(media)
    if len(found) == 1:
        # The plain hash of a single file, not a hash of a list with one entry.
        return found[0]
    marks = [media.sha256 for media in found]
    return MediaDigest(fingerprint(marks), sum(media.num_bytes for media in found))


def clip_key(clip: Clip, media_sha256: str, recipe_part: Mapping[str, object]) -> str:
    """Return the key of a clip's features, 64 hexadecimal digits.

    Args:
        clip: Clip; only its span enters the key.
        media_sha256: Hash of the content of the clip's files.
        recipe_part: Read options, fingerprint of the feature step and stored dtype.
    """
    # As floats, so that `1` and `1.0` give the same key.
    bounds = [None if bound is None else float(bound) for bound in (clip.span.start, clip.span.end)]
    value = [STORE_FORMAT, media_sha256, bounds, clip.span.unit, dict(recipe_part)]
    return fingerprint(value)


def split_fingerprint(clips: Sequence[tuple[Clip, str]]) -> str:
    """Return the fingerprint of a split, 64 hexadecimal digits.

    It covers the clips in order, with all their metadata except the row.

    Args:
        clips: Clips with their keys.
    """
    digest = hashlib.sha256()
    for clip, key in clips:
        names = [clip.id, clip.split, clip.media, clip.document, clip.order, clip.signer]
        # Optional fields are appended only if present, so fingerprints of corpora without them stay
        # as they were before these fields existed.
        names += [clip.corpus] if clip.corpus else []
        texts = [clip.texts, clip.encoder_prompt, clip.decoder_prompt, clip.gloss, clip.language]
        words: list[object] = [clip.keywords] if clip.keywords else []
        # A string, so it cannot be confused with the tuple of keywords in the same position.
        words += [clip.reference] if clip.reference else []
        digest.update(canonical_json([names, texts, key, *words]).encode())
    return digest.hexdigest()


def problems_fingerprint(problems: Sequence[InvalidRow]) -> str:
    """Return a fingerprint of the bad rows, 64 hexadecimal digits; row positions do not count."""
    return fingerprint([[problem.clip_id, problem.reason] for problem in problems])
