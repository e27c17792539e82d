"""Draw a clip of a store as an image or a video, with its texts and a model's prediction."""

import logging
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.report.clip_renderer import ClipRenderer, Line
from kinesweep.report.fonts import missing
from kinesweep.report.pose_scene import scenes_of
from kinesweep.report.video_writer import check_suffix, write_clip
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.inspect.show import find_clip

logger = logging.getLogger(__name__)


def draw_clip(store: Store, clip_id: str, out: Path, predictions: Path | None) -> dict[str, Any]:
    """Draw a clip into a file and return the path and the number of frames.

    Args:
        store: Store that holds the clip.
        clip_id: Id of the clip.
        out: Output file; its suffix selects the format.
        predictions: TSV of predictions from which the clip's prediction is shown.

    Raises:
        InputError: If there is no such clip, if it has no points, if the suffix is not supported,
            or if the predictions cannot be read or lack this clip.
    """
    # Checked first, so that a wrong suffix is reported before any features are read.
    check_suffix(out)
    record = find_clip(store, clip_id)
    said = None if predictions is None else prediction_of(predictions, clip_id)
    stage = stage_of(store, record, said)
    frames = write_clip(out, stage)
    logger.info(f"picture {out} ({frames} frames)")
    without = "".join(sorted({sign for line in stage.lines for sign in missing(line.text)}))
    if without:
        logger.info(f"no installed font contains {without}; these characters are drawn as boxes")
    return {"picture": str(out), "frames": frames}


def stage_of(store: Store, record: ClipRecord, said: str | None = None) -> ClipRenderer:
    """Return the drawing of a clip: all its streams of points, its texts, and a prediction.

    Raises:
        InputError: If none of its streams consists of points.
    """
    texts = record.clip.texts
    lines = [
        Line("text" if number == 1 else f"text {number}", text)
        for number, text in enumerate(texts, start=1)
    ]
    lines += [] if said is None else [Line("predicted", said)]
    return ClipRenderer(scenes_of(store, record), lines)


def prediction_of(path: Path, clip_id: str) -> str:
    """Return the hypothesis for a clip from a TSV of predictions.

    Raises:
        InputError: If the file cannot be read or has no row for the clip.
    """
    for line in read_predictions(path):
        if line.clip_id == clip_id:
            return line.hypothesis
    raise InputError(f"`{path}` contains no prediction for the clip `{clip_id}`")
