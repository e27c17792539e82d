"""Reader for YouTube-ASL: a list of video ids, `*video_ids.txt`, and the captions of the videos.

Caption files may be anywhere below the folder, in the formats of `captions.caption_file`. Each
caption becomes a clip, a span of `{id}.pose`; rolling captions are joined and marks are removed
(`captions`). All clips belong to train, because the corpus has no splits (`kinesweep split` creates
them). The language comes from the name of the file, or else from its header. Videos without
captions are reported.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from kinesweep.sources.prepare.captions.caption_choice import (
    ALL_LANGUAGES,
    CaptionFile,
    choose_caption_files,
    get_language_code,
    parse_caption_name,
)
from kinesweep.sources.prepare.captions.caption_clips import Caption, build_captions
from kinesweep.sources.prepare.captions.caption_file import (
    UNSUPPORTED_SUFFIXES,
    read_caption_file,
)
from kinesweep.sources.prepare.captions.caption_track import CaptionTrack
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.file_search import find_single_file
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations
from kinesweep.sources.prepare.video_ids import read_video_ids
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors


def read_youtube_asl(folder: Path, split: str, languages: Sequence[str] = ()) -> SplitAnnotations:
    """Read the annotations of a split: all clips for train, and none for other splits.

    A video without captions gives an incomplete annotation. Without a list of ids, there are no
    annotations.

    Args:
        folder: Folder of the list and of the captions.
        split: Name of the split.
        languages: Language codes in the order of preference, `all`, or none; see
            `choose_caption_files`.

    Raises:
        InputError: If there are several lists of ids, or the list is not UTF-8.
        SourceError: If caption files cannot be read; names every file.
    """
    path = find_single_file(folder, "*video_ids.txt")
    if path is None or split != "train":
        return SplitAnnotations()
    videos, repeated = read_video_ids(path)
    reader = _CaptionReader(languages, SplitAnnotations(dropped=list(repeated)))
    # One walk over the folder instead of a search for each of the 11,000 videos.
    files_by_video = _find_caption_files(folder)
    for video in videos:
        reader.add_video(video, files_by_video.pop(video, []))
    num_unlisted = sum(len(files) for files in files_by_video.values())
    if num_unlisted:
        reader.result.unused_files["not_in_list"] += num_unlisted
    raise_table_errors(reader.errors)
    return reader.result


class _CaptionReader:
    """The conversion of the captions of all videos to annotations.

    Args:
        languages: Language codes in the order of preference, `all`, or none.
        result: Annotations to extend.

    Attributes:
        result: Annotations of the videos so far.
        errors: Errors of the files so far.
    """

    def __init__(self, languages: Sequence[str], result: SplitAnnotations) -> None:
        self._languages = tuple(languages)
        self.result = result
        self.errors: list[TableError] = []

    def add_video(self, video: str, files: list[CaptionFile]) -> None:
        """Add the annotations of a video, or an incomplete one if it has no captions.

        Args:
            video: Id of the video.
            files: Caption files of the video.
        """
        tracks = self._read_files(files)
        if files and not tracks:  # the errors are already listed
            return
        try:
            choice = choose_caption_files(tracks, self._languages) if tracks else None
        except ValueError as error:
            self.errors.append((video, str(error)))
            return
        if choice is None or not choice.files:
            missing = "captions of this video"
            if tracks:
                missing += f" in {', '.join(self._languages)}"
                self.result.unused_files["other_language"] += len(tracks)
            self.result.annotations.append(_build_incomplete_annotation(video, missing))
            return
        self.result.unused_files += choice.unused
        order = 0
        for file in choice.files:
            captions = self._build_captions(tracks[file])
            if not file.tag and not _is_latin(captions):
                self.result.warnings.append(
                    f"{file.path.name}: states no language and was taken as English, but its text"
                    f" is in another script; name it `{video}.LANGUAGE{file.path.suffix}`"
                )
            # Ids of a single language stay as they were before several could be read.
            suffix = f"-{file.language}" if self._languages == (ALL_LANGUAGES,) else ""
            for caption in captions:
                clip_id = f"{video}{suffix}-{order:04d}"
                self.result.annotations.append(_build_annotation(clip_id, order, file, caption))
                order += 1
        if not order:
            self.result.warnings.append(f"video {video}: no caption is left; see the counts above")

    def _read_files(self, files: list[CaptionFile]) -> dict[CaptionFile, CaptionTrack]:
        """Read the files of a video, and return the content of those that can be read."""
        tracks: dict[CaptionFile, CaptionTrack] = {}
        track_by_name: dict[str, CaptionTrack] = {}
        known = [f for f in files if f.path.suffix.lower() not in UNSUPPORTED_SUFFIXES]
        if files and not known:
            names = ", ".join(file.path.name for file in files)
            text = "is in a format that is not read; download the captions as VTT, SRT or JSON"
            self.errors.append((names, text))
        elif len(files) > len(known):
            self.result.unused_files["other_format"] += len(files) - len(known)
        for file in known:
            name = file.path.name
            try:
                track = read_caption_file(file.path)
            except (OSError, ValueError) as error:
                text = f"cannot be read as captions: {error or type(error).__name__}"
                self.errors.append((name, text))
                continue
            if track_by_name.setdefault(name, track).cues != track.cues:
                self.errors.append((name, "is in two folders with different captions; keep one"))
            self._warn_about_language(file, track)
            tracks[file.add_content(track)] = track
        return tracks

    def _warn_about_language(self, file: CaptionFile, track: CaptionTrack) -> None:
        """Add a warning if the name and the header of a file state two languages."""
        stated = get_language_code(track.language)
        if file.tag and stated and stated != file.language:
            self.result.warnings.append(
                f"{file.path.name}: the header says `{track.language}`; the name was believed"
            )

    def _build_captions(self, track: CaptionTrack) -> list[Caption]:
        """Build the captions of a track; add what was dropped or removed to the result."""
        built = build_captions(track)
        self.result.dropped += [DroppedRow(*dropped) for dropped in built.dropped]
        self.result.removed_marks += built.removed_marks
        return built.captions


def _find_caption_files(folder: Path) -> dict[str, list[CaptionFile]]:
    """Find the caption files below a folder, and return them by video id."""
    files_by_video: dict[str, list[CaptionFile]] = {}
    for path in sorted(folder.rglob("*")):
        file = parse_caption_name(path)
        if file is not None and path.is_file():
            files_by_video.setdefault(file.video, []).append(file)
    return files_by_video


def _is_latin(captions: Sequence[Caption]) -> bool:
    """Return whether at least half of the letters of captions are Latin, or there are none."""
    letters = [letter for caption in captions for letter in caption.text if letter.isalpha()]
    num_latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return 2 * num_latin >= len(letters)


def _build_annotation(
    clip_id: str, order: int, file: CaptionFile, caption: Caption
) -> ClipAnnotation:
    """Build the annotation of a caption.

    Args:
        clip_id: Id of the clip.
        order: Position of the caption in the video, from 0.
        file: File of the caption.
        caption: Times and text of the caption.
    """
    span = PoseFile(f"{file.video}.pose", caption.start_ms, caption.end_ms, is_span=True)
    return ClipAnnotation(
        id=clip_id,
        candidate_files=(span,),
        text=caption.text,
        encoder_prompt="__asl__",
        decoder_prompt=f"__{file.language}__",
        document=file.video,
        order=order,
        language=file.language,
        row=file.path.name,
    )


def _build_incomplete_annotation(video: str, missing_part: str) -> ClipAnnotation:
    """Build the annotation of a video without usable captions."""
    return ClipAnnotation(
        id=video,
        candidate_files=(),
        text="",
        encoder_prompt="",
        decoder_prompt="",
        document=video,
        order=0,
        missing_part=missing_part,
    )
