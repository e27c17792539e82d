"""Detection of the signer in a video segment, whose results are kept on disk.

A detector takes tenths of a second for an image, and the same boxes are needed by a check, an
extraction and every reading of frames that are not stored. They are therefore kept in the state
folder, by detector, file and span. Whoever is largest over the frames is the signer.

Shapes: N frames that were looked at, T frames of the segment; a box is left, top, right, bottom.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.signer_crop import DetectorConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.io import write_json
from kinesweep.core.paths import get_state_dir
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.estimators.smpl.person_boxes import PersonTracker
from kinesweep.features.signer_crop.detectors import build_detector, compute_detector_fingerprint
from kinesweep.features.signer_crop.squares import FoundBoxes
from kinesweep.sources.video.frame_reader import FrameReader

_VERSION = 1
_MAX_PEOPLE = 8
_BATCH = 16
"""Images that are given to a detector together; all of a long video would not fit into memory."""


def detect_signer(segment: VideoSegment, frames: FrameReader, config: DetectorConfig) -> FoundBoxes:
    """Find the box of the signer in frames of a segment at the interval `every_s`.

    Args:
        segment: Video file and time span.
        frames: Reader of the segment, which is not read here.
        config: Detector.

    Raises:
        ClipError: If the segment cannot be decoded, or detections have another form.
        InputError: If the detector cannot be loaded; likewise `CheckpointError`.
    """
    num_frames = frames.end - frames.start
    step = max(1, round(config.every_s * frames.fps))
    # By frames and rate, because a span in seconds may be rounded to other frames.
    path = _get_cache_path(segment, config, (frames.start, frames.end, frames.fps))
    detections = _read_cache(path, len(range(0, num_frames, step)))
    # Detecting decodes the segment a first time, before its frames are read for the crop.
    if detections is None:
        detections = _detect(segment, step, config)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, [boxes.tolist() for boxes in detections])
    return FoundBoxes(
        select_signer(detections, config.threshold),
        np.arange(len(detections)) * step,
        num_frames,
        frames.fps,
        frames.height,
        frames.width,
    )


def select_signer(
    detections: Sequence[NDArray[np.float64]], threshold: float
) -> NDArray[np.float64]:
    """Select the box of the signer in each frame, (N, 4), NaN where there is none.

    People are followed from frame to frame. The signer is the one whose boxes have the largest sum
    of areas, so that neither a short appearance nor an interpreter in a corner is chosen.

    Args:
        detections: Detections of each frame, (number, 5).
        threshold: Least score of a detection.
    """
    tracker = PersonTracker(_MAX_PEOPLE, threshold)
    boxes_NP4 = np.full((len(detections), _MAX_PEOPLE, 4), np.nan)
    for row_P4, found in zip(boxes_NP4, detections, strict=True):
        # A plug-in need not apply the threshold itself.
        kept = found[found[:, 4] >= threshold]
        for person, box in enumerate(tracker.update(kept[:, :4].tolist(), kept[:, 4].tolist())):
            if box is not None:
                row_P4[person] = box
    # A person who is missing in a frame adds nothing to the sum.
    sizes_NP = np.nan_to_num((boxes_NP4[..., 2:] - boxes_NP4[..., :2]).prod(axis=2))
    return boxes_NP4[:, int(sizes_NP.sum(axis=0).argmax())]


def _detect(segment: VideoSegment, step: int, config: DetectorConfig) -> list[NDArray[np.float64]]:
    """Run the detector on every `step`-th frame of a segment.

    Raises:
        ClipError: If the segment cannot be decoded, or detections have another form.
    """
    detector = build_detector(config)
    detections: list[NDArray[np.float64]] = []
    images: list[NDArray[np.uint8]] = []

    def run() -> None:
        for boxes in detector(images) if images else ():
            found = np.asarray(boxes, np.float64).reshape(-1, 5)
            # A plug-in may return anything; NaN would mean `not found` later.
            if not np.isfinite(found).all():
                raise ClipError(f"`{segment.path}`: detections are not finite", "bad_detection")
            detections.append(found)
        images.clear()

    for index, image in enumerate(FrameReader(segment, None)):
        if index % step == 0:
            images.append(image)
        if len(images) == _BATCH:
            run()
    run()
    return detections


def _get_cache_path(
    segment: VideoSegment, config: DetectorConfig, part: tuple[int, int, float]
) -> Path:
    """Return the path of the detections in a part of a video."""
    path = segment.path.absolute()
    # The time of a folder does not change when an image in it is overwritten.
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = compute_fingerprint([_VERSION, str(path), stats, list(part)])
    detector = compute_detector_fingerprint(config)
    return get_state_dir() / "detections" / detector[:16] / key[:2] / f"{key}.json"


def _read_cache(path: Path, num_looked_at: int) -> list[NDArray[np.float64]] | None:
    """Read detections, or return None if they are not there or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = [np.array(boxes, np.float64).reshape(-1, 5) for boxes in values]
    except (OSError, ValueError, TypeError):
        return None
    # A file whose header declares more frames than there are gives fewer images.
    return found if 0 < len(found) <= num_looked_at else None
