"""A clip of a store as a picture or a film, with its texts and what a model says of it."""

from pathlib import Path
from typing import Any

from kinesweep.cli.output import say
from kinesweep.core.errors import InputError
from kinesweep.report.drawing import Line, Stage
from kinesweep.report.film import check_suffix, write_clip
from kinesweep.report.fonts import missing
from kinesweep.report.scene import scenes_of
from kinesweep.store import Store
from kinesweep.store.index import ClipRecord
from kinesweep.store.show import find_clip
from kinesweep.training.predictions import read_predictions


def draw_clip(store: Store, clip_id: str, out: Path, predictions: Path | None) -> dict[str, Any]:
    """Draws a clip into a file and says so. Returns the file and its frames.

    Raises:
        InputError: no such clip, no points, a suffix that cannot be written, or predictions that
            cannot be read or leave this clip out.
    """
    check_suffix(out)
    record = find_clip(store, clip_id)
    said = None if predictions is None else prediction_of(predictions, clip_id)
    stage = stage_of(store, record, said)
    frames = write_clip(out, stage)
    say(f"picture {out} ({frames} frames)")
    without = "".join(sorted({sign for line in stage.lines for sign in missing(line.text)}))
    if without:
        say(f"no font of this system has {without}: drawn as boxes; install one that does")
    return {"picture": str(out), "frames": frames}


def stage_of(store: Store, record: ClipRecord, said: str | None = None) -> Stage:
    """All streams of points of a clip, its texts, and a prediction.

    Raises:
        InputError: none of its streams holds points.
    """
    texts = record.clip.texts
    lines = [
        Line("text" if number == 1 else f"text {number}", text)
        for number, text in enumerate(texts, start=1)
    ]
    lines += [] if said is None else [Line("predicted", said)]
    return Stage(scenes_of(store, record), lines)


def prediction_of(path: Path, clip_id: str) -> str:
    """What a file of predictions says of a clip.

    Raises:
        InputError: it cannot be read, or says nothing of it.
    """
    for line in read_predictions(path):
        if line.clip_id == clip_id:
            return line.hypothesis
    raise InputError(f"`{path}` holds no prediction of the clip `{clip_id}`")
