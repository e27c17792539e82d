"""Images of a few validation clips for a sweep's report, with the winner's attention in each.

Three evenly spaced clips take seconds. An error here must not fail the sweep, so models on top of a
base model and models above 2 GB are not loaded. Whatever cannot be shown is named in the report,
with the command that produces it by hand.
"""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.checkpoints.model_dir import ModelFolder, read_model_folder
from kinesweep.checkpoints.model_dir_files import FEATURES
from kinesweep.core.errors import KinesweepError, StoreError
from kinesweep.core.io import read_json
from kinesweep.core.paths import directory_size
from kinesweep.evaluation.predictions import Prediction
from kinesweep.pipelines.attention_page import page_of_record
from kinesweep.report import Picture
from kinesweep.report.attention import write_attention
from kinesweep.report.clip_renderer import ClipRenderer
from kinesweep.report.pose_scene import scenes_of
from kinesweep.report.video_writer import write_clip
from kinesweep.store import Store, open_store
from kinesweep.store.format.index import ClipRecord

_CLIPS = 3
_MOST_BYTES = 2 * 2**30
# Errors in features and models that a report tolerates. `torch.OutOfMemoryError` is a RuntimeError.
_SOFT = (KinesweepError, OSError, RuntimeError, MemoryError)


def render_winner_samples(
    folder: Path, run: Path, said: Sequence[Prediction], base: Store
) -> tuple[list[Picture], list[str]]:
    """Write images and attention pages into a report's folder, replacing earlier ones.

    Args:
        folder: Folder of the report.
        run: Run folder of the winner's exported seed.
        said: Predictions of that run on validation.
        base: Store of the sweep's recipe; the winner may have been trained on another store.

    Returns:
        The clips, and the reasons why parts of them are not shown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # An earlier report may have had more clips, or pages that this one cannot produce.
    for old in (*folder.glob("clip-*.png"), *folder.glob("attention-*.html")):
        old.unlink()
    # The middle clip of each third; short splits give fewer than three clips.
    chosen = [said[(2 * n + 1) * len(said) // (2 * _CLIPS)] for n in range(min(_CLIPS, len(said)))]
    try:
        store = _own_store(run, base)
        records = {record.clip.id: record for record in store.records("validation")}
    except _SOFT as error:
        return [], [f"the winner's features cannot be opened ({error})"]
    reasons: list[str] = []
    own = [records[line.clip_id] for line in chosen]
    images = _images(folder, store, own, reasons)
    pages = _pages(folder, run, store, own, reasons)
    pictures = [
        Picture(line.clip_id, line.references, line.hypothesis, image, page)
        for line, image, page in zip(chosen, images, pages, strict=True)
    ]
    return pictures, reasons


def _own_store(run: Path, base: Store) -> Store:
    """Return the store that the winner was trained on: the sweep's or one beside it.

    Raises:
        StoreError: If it does not exist any more.
    """
    wanted = read_json(run / "best" / FEATURES)["store_fingerprint"]
    if base.fingerprint == wanted:
        return base
    for manifest in sorted(base.folder.parent.glob("*/manifest.json")):
        if read_json(manifest).get("fingerprint") == wanted:
            return open_store(manifest.parent)
    raise StoreError(f"no store in `{base.folder.parent}` has the fingerprint {wanted[:12]}…")


def _images(
    folder: Path, store: Store, records: Sequence[ClipRecord], reasons: list[str]
) -> list[str]:
    """Draw an image of each clip.

    Returns:
        Names of the images; empty names, and a new entry in `reasons`, if drawing failed.
    """
    names = [f"clip-{number}.png" for number, _ in enumerate(records, start=1)]
    try:
        for name, record in zip(names, records, strict=True):
            write_clip(folder / name, ClipRenderer(scenes_of(store, record)))
    except _SOFT as error:
        # If one clip fails, all images are dropped and the report states a single reason.
        reasons.append(f"images of clips ({error})")
        return [""] * len(records)
    return names


def _pages(
    folder: Path, run: Path, store: Store, records: Sequence[ClipRecord], reasons: list[str]
) -> list[str]:
    """Write an attention page of each clip.

    Returns:
        Names of the pages; empty names, and a new entry in `reasons`, if they were not written.
    """
    if not records:
        return []
    names = [f"attention-{number}.html" for number, _ in enumerate(records, start=1)]
    by_hand = (
        f"`kinesweep attention {run} {records[0].clip.id} --store {store.folder} --out FILE.html`"
        " writes a page"
    )
    if _is_heavy(run):
        reasons.append(f"the winner's attention (its model is not loaded for a report; {by_hand})")
        return [""] * len(records)
    try:
        # Loaded on the CPU, so that a report never needs a free GPU.
        loaded: ModelFolder = read_model_folder(run / "best", device="cpu")
        for name, record in zip(names, records, strict=True):
            write_attention(folder / name, page_of_record(loaded, store, record, run.name))
    except _SOFT as error:
        reasons.append(f"the winner's attention ({error}; once that is solved, {by_hand})")
        return [""] * len(records)
    return names


def _is_heavy(run: Path) -> bool:
    """Return whether the model is slow to load: it has a base model, or is larger than 2 GB."""
    config = read_json(run / "best" / "config.json")
    return config.get("base") is not None or directory_size(run / "best") > _MOST_BYTES
