"""Draw a clip of a store as an image or a video, with its texts and a model's prediction."""

import logging
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.report.clip_renderer import CaptionLine, ClipRenderer
from kinesweep.report.fonts import find_missing_characters
from kinesweep.report.pose_scene import load_clip_scenes
from kinesweep.report.video_writer import check_output_suffix, write_clip_drawing
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.inspect.clip_lookup import find_clip_record

logger = logging.getLogger(__name__)


def draw_clip(
    store: Store, clip_id: str, out: Path, predictions_path: Path | None
) -> dict[str, Any]:
    """Draw a clip as an image or a video and write it to a file.

    Logs the path, the number of frames, and the characters that no installed font contains.

    Args:
        store: Store that holds the clip.
        clip_id: Id of the clip.
        out: Output file; its suffix selects the format.
        predictions_path: TSV of predictions from which the clip's prediction is shown; None: none.

    Returns:
        `picture` → path of the file, `frames` → number of drawn frames.

    Raises:
        InputError: If there is no such clip, if it has no points, if the suffix is not supported,
            or if the predictions cannot be read or lack this clip.
    """
    # Checked first, so that a wrong suffix is reported before any features are read.
    check_output_suffix(out)
    record = find_clip_record(store, clip_id)
    prediction = None if predictions_path is None else find_prediction(predictions_path, clip_id)
    renderer = build_clip_renderer(store, record, prediction)
    frames = write_clip_drawing(out, renderer)
    logger.info(f"picture {out} ({frames} frames)")
    missing_characters = "".join(
        sorted({char for line in renderer.captions for char in find_missing_characters(line.text)})
    )
    if missing_characters:
        logger.info(
            f"no installed font contains {missing_characters}; these characters are drawn as boxes"
        )
    return {"picture": str(out), "frames": frames}


def build_clip_renderer(
    store: Store, record: ClipRecord, prediction: str | None = None
) -> ClipRenderer:
    """Build a renderer that draws a clip's streams of points with its texts and a prediction.

    Args:
        store: Store that holds the clip.
        record: Record of the clip.
        prediction: Text that a model generated for the clip; None: none is shown.

    Raises:
        InputError: If none of its streams consists of points.
    """
    texts = record.clip.texts
    captions = [
        CaptionLine("text" if text_number == 1 else f"text {text_number}", text)
        for text_number, text in enumerate(texts, start=1)
    ]
    if prediction is not None:
        captions.append(CaptionLine("predicted", prediction))
    return ClipRenderer(load_clip_scenes(store, record), captions)


def find_prediction(path: Path, clip_id: str) -> str:
    """Find the text that a model generated for a clip in a TSV of predictions.

    Raises:
        InputError: If the file cannot be read or has no row for the clip.
    """
    for row in read_predictions(path):
        if row.clip_id == clip_id:
            return row.hypothesis
    raise InputError(f"`{path}` contains no prediction for the clip `{clip_id}`")
