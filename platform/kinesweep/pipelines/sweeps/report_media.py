"""Images of a few validation clips for a sweep's report, with the winner's attention in each.

Three evenly spaced clips take seconds. An error here must not fail the sweep, so models on top of a
base model and models above 2 GiB are not loaded. Whatever cannot be shown is named in the report,
with the command that produces it by hand.
"""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.checkpoints.model_dir_files import FEATURES_FILENAME
from kinesweep.core.errors import KinesweepError, StoreError
from kinesweep.core.io import read_json
from kinesweep.core.paths import compute_directory_size
from kinesweep.evaluation.predictions import Prediction
from kinesweep.pipelines.attention_page import build_attention_page
from kinesweep.report import ClipImage
from kinesweep.report.attention import write_attention_html
from kinesweep.report.clip_renderer import ClipRenderer
from kinesweep.report.pose_scene import load_clip_scenes
from kinesweep.report.video_writer import write_clip_drawing
from kinesweep.store import Store, open_store
from kinesweep.store.format.index import ClipRecord

_NUM_CLIPS = 3
_MAX_MODEL_BYTES = 2 * 2**30
# Errors in features and models that a report tolerates. `torch.OutOfMemoryError` is a RuntimeError.
_TOLERATED_ERRORS = (KinesweepError, OSError, RuntimeError, MemoryError)


def render_winner_samples(
    folder: Path, run: Path, predictions: Sequence[Prediction], base_store: Store
) -> tuple[list[ClipImage], list[str]]:
    """Render three of the winner's validation clips as images and attention pages.

    The files are written to the report's folder; those of an earlier report are removed. Nothing is
    logged.

    Args:
        folder: Folder of the report.
        run: Run folder of the winner's exported seed.
        predictions: Predictions of that run on validation.
        base_store: Store of the sweep's recipe; the winner may have been trained on another store.

    Returns:
        The rendered clips with the names of their files, and a reason for each kind of file that
        could not be produced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # An earlier report may have had more clips, or pages that this one cannot produce.
    for old_path in (*folder.glob("clip-*.png"), *folder.glob("attention-*.html")):
        old_path.unlink()
    # The middle clip of each third; short splits give fewer than three clips.
    selected_predictions = [
        predictions[(2 * index + 1) * len(predictions) // (2 * _NUM_CLIPS)]
        for index in range(min(_NUM_CLIPS, len(predictions)))
    ]
    try:
        store = _find_winner_store(run, base_store)
        records = {record.clip.id: record for record in store.get_records("validation")}
    except _TOLERATED_ERRORS as error:
        return [], [f"the winner's features cannot be opened ({error})"]
    reasons: list[str] = []
    clip_records = [records[row.clip_id] for row in selected_predictions]
    image_names = _draw_clip_images(folder, store, clip_records, reasons)
    page_names = _write_attention_pages(folder, run, store, clip_records, reasons)
    images = [
        ClipImage(row.clip_id, row.references, row.hypothesis, image_name, page_name)
        for row, image_name, page_name in zip(
            selected_predictions, image_names, page_names, strict=True
        )
    ]
    return images, reasons


def _find_winner_store(run: Path, base_store: Store) -> Store:
    """Find the store that the winner was trained on, by its fingerprint.

    Args:
        run: Run folder of the winner.
        base_store: Store of the sweep's recipe; the other stores are in the folder beside it.

    Raises:
        StoreError: If there is no such store any more, or if it is damaged.
    """
    fingerprint = read_json(run / "best" / FEATURES_FILENAME)["store_fingerprint"]
    if base_store.fingerprint == fingerprint:
        return base_store
    for manifest in sorted(base_store.folder.parent.glob("*/manifest.json")):
        if read_json(manifest).get("fingerprint") == fingerprint:
            return open_store(manifest.parent)
    raise StoreError(
        f"no store in `{base_store.folder.parent}` has the fingerprint {fingerprint[:12]}…"
    )


def _draw_clip_images(
    folder: Path, store: Store, records: Sequence[ClipRecord], reasons: list[str]
) -> list[str]:
    """Draw an image of each clip into the report's folder.

    Args:
        folder: Folder of the report.
        store: Store that holds the clips.
        records: Records of the clips.
        reasons: Reasons for missing files; gets an entry if drawing fails.

    Returns:
        Names of the images in the order of the clips; empty names if drawing fails for a clip.
    """
    names = [f"clip-{clip_number}.png" for clip_number, _ in enumerate(records, start=1)]
    try:
        for name, record in zip(names, records, strict=True):
            write_clip_drawing(folder / name, ClipRenderer(load_clip_scenes(store, record)))
    except _TOLERATED_ERRORS as error:
        # If one clip fails, all images are dropped and the report states a single reason.
        reasons.append(f"images of clips ({error})")
        return [""] * len(records)
    return names


def _write_attention_pages(
    folder: Path, run: Path, store: Store, records: Sequence[ClipRecord], reasons: list[str]
) -> list[str]:
    """Write an attention page of each clip into the report's folder.

    Args:
        folder: Folder of the report.
        run: Run folder of the winner.
        store: Store that holds the clips.
        records: Records of the clips.
        reasons: Reasons for missing files; gets an entry if the pages are not written.

    Returns:
        Names of the pages in the order of the clips; empty names if the model is slow to load or if
        writing fails for a clip.
    """
    if not records:
        return []
    names = [f"attention-{clip_number}.html" for clip_number, _ in enumerate(records, start=1)]
    manual_command = (
        f"`kinesweep attention {run} {records[0].clip.id} --store {store.folder} --out FILE.html`"
        " writes a page"
    )
    if _is_slow_to_load(run):
        reasons.append(
            f"the winner's attention (its model is not loaded for a report; {manual_command})"
        )
        return [""] * len(records)
    try:
        # Loaded on the CPU, so that a report never needs a free GPU.
        loaded: LoadedModel = read_model_folder(run / "best", device="cpu")
        for name, record in zip(names, records, strict=True):
            write_attention_html(
                folder / name, build_attention_page(loaded, store, record, run.name)
            )
    except _TOLERATED_ERRORS as error:
        reasons.append(f"the winner's attention ({error}; once that is solved, {manual_command})")
        return [""] * len(records)
    return names


def _is_slow_to_load(run: Path) -> bool:
    """Return whether a run's model adapts a base model or is larger than 2 GiB."""
    config = read_json(run / "best" / "config.json")
    return config.get("base") is not None or compute_directory_size(run / "best") > _MAX_MODEL_BYTES
