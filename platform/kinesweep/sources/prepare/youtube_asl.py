"""Reader for YouTube-ASL: a list of video ids, `*video_ids.txt`, and the captions of the videos.

Caption files may be anywhere below the folder. Their names begin with the video id and a dot:
`{id}.en.vtt` (WebVTT, as downloaders write it) or `{id}.json` (a list of `text`, `start` and
`duration` in seconds). Each caption becomes a clip, a span of `{id}.pose`. All clips belong to
train, because the corpus has no splits (`kinesweep split` creates them). Videos without captions
are reported.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import webvtt

from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.file_search import find_single_file
from kinesweep.sources.prepare.times import parse_milliseconds
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

Caption = tuple[float, float, str]
"""Start and end in milliseconds, and the text."""


def read_youtube_asl(folder: Path, split: str) -> list[ClipAnnotation]:
    """Read the annotations of a split: all clips for train, and none for other splits.

    A video without captions gives an incomplete annotation. Without a list of ids, there are no
    annotations.

    Raises:
        InputError: If there are several lists of ids, or the list is not UTF-8.
        SourceError: If caption files cannot be read; names every file.
    """
    path = find_single_file(folder, "*video_ids.txt")
    if path is None or split != "train":
        return []
    caption_paths = _find_caption_files(folder)
    annotations: list[ClipAnnotation] = []
    errors: list[TableError] = []
    for video in _read_video_ids(path):
        caption_path = caption_paths.get(video)
        if caption_path is None:
            annotations.append(
                _build_annotation(
                    video, video, 0, (0, 0, ""), missing_part="captions of this video"
                )
            )
            continue
        try:
            # Captions without a text are dropped before the others are numbered.
            video_captions = [
                caption
                for caption in _CAPTION_READERS[caption_path.suffix](caption_path)
                if caption[2]
            ]
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            webvtt.errors.MalformedFileError,
        ) as error:
            errors.append(
                (caption_path.name, f"cannot be read as captions: {error or type(error).__name__}")
            )
            continue
        annotations += [
            _build_annotation(f"{video}-{order:04d}", video, order, caption)
            for order, caption in enumerate(video_captions)
        ]
    raise_table_errors(errors)
    return annotations


def _read_video_ids(path: Path) -> list[str]:
    """Read the video ids from a text file, in which white space separates them.

    Raises:
        InputError: If the file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split()
    except UnicodeDecodeError as error:
        text = f"`{path.name}` is not UTF-8 ({error.reason} at byte {error.start})"
        raise InputError(text) from None


def _find_caption_files(folder: Path) -> dict[str, Path]:
    """Find the caption files below a folder, and return one path per video id.

    If a video has several files, JSON is preferred to WebVTT, and `.en` in the name after that.
    """
    # Sorted from the least to the most preferred: the dictionary keeps the last file of a video.
    files = [path for path in folder.rglob("*") if _is_caption_file(path)]
    files.sort(key=lambda path: (path.suffix, ".en" not in path.name, path), reverse=True)
    return {path.name.partition(".")[0]: path for path in files}


def _is_caption_file(path: Path) -> bool:
    """Return whether a file may contain captions, judged by its name.

    A JSON file with another dot in its name is metadata, such as a downloader's `{id}.info.json`.
    """
    has_inner_dot = path.name.count(".") > 1
    return (
        path.suffix in _CAPTION_READERS
        and not (path.suffix == ".json" and has_inner_dot)
        # Last, because it is the only condition that asks the file system.
        and path.is_file()
    )


def _iter_json_captions(path: Path) -> Iterator[Caption]:
    """Yield the captions of a JSON file in the order of the file, with times in milliseconds.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is not JSON in UTF-8 or contains a time that is not a number.
        KeyError: If a caption has no `start`, `duration` or `text`.
        TypeError: If the file is not a list of objects.
    """
    for caption in json.loads(path.read_text(encoding="utf-8")):
        start_ms = 1000 * float(caption["start"])
        end_ms = start_ms + 1000 * float(caption["duration"])
        yield start_ms, end_ms, str(caption["text"]).strip()


def _iter_vtt_captions(path: Path) -> Iterator[Caption]:
    """Yield the captions of a WebVTT file in the order of the file, with times in milliseconds.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is not UTF-8 or contains a malformed time.
        webvtt.errors.MalformedFileError: If the file is not WebVTT.
    """
    for caption in webvtt.read(str(path)).captions:
        start_ms, end_ms = parse_milliseconds(caption.start), parse_milliseconds(caption.end)
        yield start_ms, end_ms, caption.text.strip()


_CAPTION_READERS: dict[str, Callable[[Path], Iterator[Caption]]] = {
    ".json": _iter_json_captions,
    ".vtt": _iter_vtt_captions,
}


def _build_annotation(
    clip_id: str, video: str, order: int, caption: Caption, missing_part: str = ""
) -> ClipAnnotation:
    """Build the annotation of a caption, or an incomplete annotation if `missing_part` is set.

    Args:
        clip_id: Id of the clip.
        video: Id of the video.
        order: Position of the caption in the video, from 0.
        caption: Times in milliseconds and text of the caption.
        missing_part: Missing part of the annotation, or empty.
    """
    start_ms, end_ms, text = caption
    return ClipAnnotation(
        id=clip_id,
        candidate_files=() if missing_part else (PoseFile(f"{video}.pose", start_ms, end_ms),),
        text=text,
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=video,
        order=order,
        language="en",
        missing_part=missing_part,
    )
