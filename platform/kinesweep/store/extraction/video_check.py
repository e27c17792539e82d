"""A check of the clips of a video corpus: what an extraction would drop before its model runs.

By default a video is opened, its first frame is decoded and its packets are counted, which takes
about 10 ms and finds files that were cut off. Damage inside of a packet is found only by decoding
(2 ms a frame of 1280 × 720 pixels), which is done on demand. Clips are checked in threads: PyAV
decodes without the interpreter's lock. PyTorch is not loaded.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.video_frames import open_frames
from kinesweep.sources.base import Source
from kinesweep.store.extraction.clip_check import CheckedClip

_MAX_THREADS = 16


def check_videos(
    source: Source,
    clips: Sequence[Clip],
    config: VideoFeaturesConfig | FramesFeaturesConfig,
    decode: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[CheckedClip], list[InvalidRow]]:
    """Find the clips of a video corpus that an extraction would drop.

    Args:
        source: Corpus of videos.
        clips: Clips of all splits, in the order of the corpus.
        config: Video features, which may need poses, or frames.
        decode: Whether to decode every frame of every clip.
        progress: Function to call after each clip with the number of clips that were checked and
            the number of all clips.

    Returns:
        The clips that can be read and those that would be dropped, in the order of the corpus.
    """
    find_error = partial(_find_error, source, config, decode)
    usable_clips, invalid_rows = [], []
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(find_error, clip) for clip in clips]
        try:
            for num_checked, (clip, future) in enumerate(zip(clips, futures, strict=True), 1):
                error = future.result()
                if error is None:
                    usable_clips.append(CheckedClip(clip, {}, None))
                else:
                    row = (clip.row, clip.id, error.reason, str(error), clip.split)
                    invalid_rows.append(InvalidRow(*row))
                if progress is not None:
                    progress(num_checked, len(clips))
        finally:
            # An interrupt would otherwise wait until every clip has been decoded.
            pool.shutdown(wait=False, cancel_futures=True)
    return usable_clips, invalid_rows


def _find_error(
    source: Source, config: VideoFeaturesConfig | FramesFeaturesConfig, decode: bool, clip: Clip
) -> ClipError | None:
    """Return the error for which an extraction would drop a clip, or None.

    Args:
        source: Corpus of videos.
        config: Video features, or frames.
        decode: Whether to decode every frame.
        clip: Clip to check.
    """
    try:
        segment = source.read(clip)
        assert isinstance(segment, VideoSegment)
        frames = open_frames(segment, config, None)
        if decode:
            for _ in frames:
                pass
        else:
            frames.verify_files()
    except ClipError as error:
        text = str(error)
        # Errors from `read` name the row already; those from the decoder name only the file.
        return ClipError(text if text.startswith(clip.row) else f"{clip.row}: {text}", error.reason)
    return None
