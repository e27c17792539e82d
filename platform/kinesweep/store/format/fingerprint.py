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
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint, to_canonical_json
from kinesweep.sources.base import MediaDigest
from kinesweep.sources.video.video_reader import is_image_file

STORE_FORMAT = 2
"""Version of the store layout and of clip keys; a change recomputes every clip."""

_MAX_SINGLE_READ_BYTES = 16_000_000
"""Size up to which a file is read in one call; twice as fast for poses as hashing in blocks."""


def hash_media_files(paths: Iterable[Path]) -> dict[Path, MediaDigest | ClipError]:
    """Hash the content of each distinct file in threads.

    Args:
        paths: Paths of files, or of folders of images; a path may occur several times.

    Returns:
        Path → SHA-256 and size in bytes, or an error with the reason `unreadable`.
    """
    unique_paths = list(dict.fromkeys(paths))
    num_threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(num_threads) as pool:
        return dict(zip(unique_paths, pool.map(_hash_media_path, unique_paths), strict=True))


def _hash_media_path(path: Path) -> MediaDigest | ClipError:
    """Hash the content of a file or of a folder of images.

    Returns:
        SHA-256 and size in bytes, or an error with the reason `unreadable`.
    """
    if path.is_dir():
        return _hash_image_folder(path)
    try:
        num_bytes = path.stat().st_size
        if num_bytes > _MAX_SINGLE_READ_BYTES:
            return MediaDigest(compute_file_sha256(path), num_bytes)
        content = path.read_bytes()
    except OSError as error:
        return ClipError(f"`{path}` cannot be read: {error.strerror}", reason="unreadable")
    return MediaDigest(hashlib.sha256(content).hexdigest(), len(content))


def _hash_image_folder(folder: Path) -> MediaDigest | ClipError:
    """Hash the names and contents of all images in a folder; other files are ignored.

    Returns:
        SHA-256 and total size in bytes, or the error of the folder or of the first image that
        cannot be read.
    """
    image_digests: dict[str, MediaDigest] = {}
    try:
        # Sorted because the order of `iterdir` differs between file systems.
        paths = sorted(filter(is_image_file, folder.iterdir()))
    except OSError as error:
        return ClipError(f"`{folder}` cannot be read: {error.strerror}", reason="unreadable")
    for path in paths:
        digest = _hash_media_path(path)
        if isinstance(digest, ClipError):
            return digest
        image_digests[path.name] = digest
    names_and_hashes = [[name, digest.sha256] for name, digest in image_digests.items()]
    return MediaDigest(
        compute_fingerprint(names_and_hashes),
        sum(digest.num_bytes for digest in image_digests.values()),
    )


def combine_media_digests(
    digests: Mapping[Path, MediaDigest | ClipError], paths: Sequence[Path]
) -> MediaDigest | ClipError:
    """Combine the digests of a clip's files into one digest with their total size.

    Args:
        digests: Digests as returned by `hash_media_files`.
        paths: Media file of the clip, followed by its auxiliary files; their order changes the
            combined digest.

    Returns:
        The digest, or the error of the first file that cannot be read.
    """
    file_digests: list[MediaDigest] = []
    for digest in map(digests.__getitem__, paths):
        if isinstance(digest, ClipError):
            return digest
        file_digests.append(digest)
    if len(file_digests) == 1:
        # The plain hash of a single file, not a hash of a list with one entry.
        return file_digests[0]
    hashes = [digest.sha256 for digest in file_digests]
    num_bytes = sum(digest.num_bytes for digest in file_digests)
    return MediaDigest(compute_fingerprint(hashes), num_bytes)


def compute_clip_key(clip: Clip, media_sha256: str, key_settings: Mapping[str, object]) -> str:
    """Compute the key that identifies a clip's features, 64 hexadecimal digits.

    Args:
        clip: Clip; only its span enters the key.
        media_sha256: SHA-256 of the content of the clip's files.
        key_settings: Streams, fingerprint of the feature step, stored dtype and read options
            (`ExtractionSpec.get_clip_key_settings`).
    """
    # As floats, so that `1` and `1.0` give the same key.
    bounds = [None if bound is None else float(bound) for bound in (clip.span.start, clip.span.end)]
    value = [STORE_FORMAT, media_sha256, bounds, clip.span.unit, dict(key_settings)]
    return compute_fingerprint(value)


def compute_split_fingerprint(clips: Sequence[tuple[Clip, str]]) -> str:
    """Compute the fingerprint of a split, 64 hexadecimal digits.

    It covers the clips in the order of the source, with their features' keys and all their metadata
    except the row of the table.

    Args:
        clips: Clips of the split, each with its key.
    """
    digest = hashlib.sha256()
    for clip, key in clips:
        names = [clip.id, clip.split, clip.media, clip.document, clip.order, clip.signer]
        # Optional fields are appended only if present, so fingerprints of corpora without them stay
        # as they were before these fields existed.
        names += [clip.corpus] if clip.corpus else []
        texts = [clip.texts, clip.encoder_prompt, clip.decoder_prompt, clip.gloss, clip.language]
        optional_fields: list[object] = [clip.keywords] if clip.keywords else []
        # A string, so it cannot be confused with the tuple of keywords in the same position.
        optional_fields += [clip.reference] if clip.reference else []
        # Named, so that no combination of absent fields looks like another one. The frames of a
        # reference span are already part of the key, which covers the content of the reference.
        if clip.augmented_texts:
            optional_fields.append({"augmented_texts": clip.augmented_texts})
        digest.update(to_canonical_json([names, texts, key, *optional_fields]).encode())
    return digest.hexdigest()


def compute_invalid_rows_fingerprint(invalid_rows: Sequence[InvalidRow]) -> str:
    """Compute the fingerprint of invalid rows, 64 hexadecimal digits.

    It covers their clip IDs and reasons, but neither their positions in a table nor the messages.
    """
    return compute_fingerprint([[row.clip_id, row.reason] for row in invalid_rows])
