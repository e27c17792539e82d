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
from kinesweep.sources.prepare.rows import ClipAnnotation, PoseFile, find_single_file
from kinesweep.sources.prepare.times import parse_milliseconds
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors

Caption = tuple[float, float, str]
"""Start and end in milliseconds, and the text."""


def read_youtube_asl(folder: Path, split: str) -> list[ClipAnnotation]:
    """Read the annotations of a split; every clip belongs to train.

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
        file = caption_paths.get(video)
        if file is None:
            annotations.append(
                _build_annotation(
                    video, video, 0, (0, 0, ""), missing_part="captions of this video"
                )
            )
            continue
        try:
            # Captions without a text are dropped before the others are numbered.
            video_captions = [
                caption for caption in _CAPTION_READERS[file.suffix](file) if caption[2]
            ]
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            webvtt.errors.MalformedFileError,
        ) as error:
            errors.append(
                (file.name, f"cannot be read as captions: {error or type(error).__name__}")
            )
            continue
        annotations += [
            _build_annotation(f"{video}-{n:04d}", video, n, caption)
            for n, caption in enumerate(video_captions)
        ]
    raise_table_errors(errors)
    return annotations


def _read_video_ids(path: Path) -> list[str]:
    """Read the list of video ids."""
    try:
        return path.read_text(encoding="utf-8-sig").split()
    except UnicodeDecodeError as error:
        text = f"`{path.name}` is not UTF-8 ({error.reason} at byte {error.start})"
        raise InputError(text) from None


def _find_caption_files(folder: Path) -> dict[str, Path]:
    """Map each video to its caption file; English and JSON files are preferred."""
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
        and path.is_file()
    )


def _iter_json_captions(path: Path) -> Iterator[Caption]:
    """Yield the captions of a JSON file."""
    for line in json.loads(path.read_text(encoding="utf-8")):
        start = 1000 * float(line["start"])
        yield start, start + 1000 * float(line["duration"]), str(line["text"]).strip()


def _iter_vtt_captions(path: Path) -> Iterator[Caption]:
    """Yield the captions of a WebVTT file."""
    for line in webvtt.read(str(path)).captions:
        yield parse_milliseconds(line.start), parse_milliseconds(line.end), line.text.strip()


_CAPTION_READERS: dict[str, Callable[[Path], Iterator[Caption]]] = {
    ".json": _iter_json_captions,
    ".vtt": _iter_vtt_captions,
}


def _build_annotation(
    name: str, video: str, order: int, caption: Caption, missing_part: str = ""
) -> ClipAnnotation:
    """Build the annotation of a caption, or an incomplete one if `missing_part` is set."""
    start, end, text = caption
    return ClipAnnotation(
        id=name,
        files=() if missing_part else (PoseFile(f"{video}.pose", start, end),),
        text=text,
        encoder_prompt="__asl__",
        decoder_prompt="__en__",
        document=video,
        order=order,
        language="en",
        missing_part=missing_part,
    )
