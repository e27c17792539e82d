"""The videos, annotations and shards of an export in Sign_LLaVA's layout, before they are written.

A video is a document of the store, or a clip without a document. Names of videos and clips are
derived from their IDs, so different IDs can clash, which is an error. Shards are split between
videos at about 1 GB.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.sources.precomputed.annotation import ORDER_KEY
from kinesweep.store.export.file_names import sanitize_file_name
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

ClipsByVideo = dict[str, dict[str, ClipRecord]]
"""Name of the video → name of the clip → record; videos in the order of the store, clips by
`order`."""


def group_by_video(records: Sequence[ClipRecord]) -> ClipsByVideo:
    """Group the clips of a split by video.

    Args:
        records: Clips of the split, in the order of the store.

    Returns:
        Videos in the order of their first clip in the store; the clips of a video are sorted by
        `order`, and clips with equal `order` are in the order of the store.

    Raises:
        InputError: If two videos or two clips of a video would get the same name, or a clip has no
            text.
    """
    _check_texts(records)
    document_by_video: dict[str, tuple[str, str]] = {}
    clips_by_video: ClipsByVideo = {}
    # `sorted` is stable: clips with equal `order` keep the order of the store.
    for record in sorted(records, key=lambda record: record.clip.order):
        video, name = _get_export_names(record.clip)
        document = (record.clip.corpus, record.clip.document)
        has_other_document = document_by_video.setdefault(video, document) != document
        if has_other_document or name in clips_by_video.get(video, {}):
            raise InputError(
                f"two clips or documents would both be named `{video}`, among them that of the clip"
                f" `{record.clip.id}`; give them names that differ in more than slashes"
            )
        clips_by_video.setdefault(video, {})[name] = record
    # Keys of a dictionary keep the order in which they were first inserted.
    videos_in_store_order = dict.fromkeys(_get_export_names(record.clip)[0] for record in records)
    return {video: clips_by_video[video] for video in videos_in_store_order}


def _check_texts(records: Sequence[ClipRecord]) -> None:
    """Check that every clip has a text, without which the layout has no clip.

    Raises:
        InputError: If a clip has none.
    """
    ids = [record.clip.id for record in records if not record.clip.texts]
    if ids:
        raise InputError(
            f"{len(ids)} clips have no text, for example `{ids[0]}`; annotations in this layout"
            " need one for each clip: add the texts, or leave the clips out of the corpus"
        )


def _get_export_names(clip: Clip) -> tuple[str, str]:
    """Return the name of a clip's video, and the name of the clip within the video.

    The video is the document of the clip, or the clip itself if it has no document. Several corpora
    are told apart by a prefix of the video.
    """
    clip_name = clip.id.removeprefix(f"{clip.corpus}/") if clip.corpus else clip.id
    video = clip.document or clip_name
    name = clip_name.removeprefix(f"{clip.document}/") if clip.document else clip_name
    return sanitize_file_name(
        f"{clip.corpus}_{video}" if clip.corpus else video
    ), sanitize_file_name(name)


def build_annotation(clips: Mapping[str, ClipRecord]) -> dict[str, Any]:
    """Build the annotation of a video: the order of its clips, and texts and keywords of each.

    Args:
        clips: Name of the clip → record, in the order of the video; each clip must have a text.
    """
    annotation: dict[str, Any] = {ORDER_KEY: list(clips)}
    for name, record in clips.items():
        first, *others = record.clip.texts
        keywords = list(record.clip.keywords)
        annotation[name] = {"translation": first, "paraphrases": others, "keywords": keywords}
    return annotation


def split_into_shards(store: Store, videos: ClipsByVideo, shard_bytes: int) -> list[ClipsByVideo]:
    """Split the videos of a split into shards, in their order, without dividing a video.

    Args:
        store: Store that contains the clips.
        videos: Videos of the split.
        shard_bytes: Approximate size of a shard of the widest stream in bytes.

    Returns:
        Videos of each shard; all streams use the same division.
    """
    # Share of the widest stream in a clip's bytes, if its streams have equal lengths.
    widest_share = max(store.schema.widths.values()) / sum(store.schema.widths.values())
    shards: list[ClipsByVideo] = [{}]
    remaining_bytes = float(shard_bytes)
    for video, clips in videos.items():
        num_bytes = widest_share * sum(
            store.compute_clip_bytes(record) for record in clips.values()
        )
        # A video larger than a shard gets a shard of its own.
        if shards[-1] and num_bytes > remaining_bytes:
            shards.append({})
            remaining_bytes = shard_bytes
        shards[-1][video] = clips
        remaining_bytes -= num_bytes
    return shards
