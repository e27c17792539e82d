"""A few clips of validation for a sweep's report: drawn, and what the winner looked at in each.

Three clips, evenly spread, take seconds; a report must not cost a sweep its end. So models over a
base, and those above 2 GB, are not loaded for it, and what fails is said in the report, with the
command that does it by hand, never left out in silence.
"""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.cli.attending import page_of_record
from kinesweep.core.errors import KinesweepError, StoreError
from kinesweep.core.paths import bytes_below
from kinesweep.report import Picture
from kinesweep.report.attention import write_attention
from kinesweep.report.drawing import Stage
from kinesweep.report.film import write_clip
from kinesweep.report.scene import scenes_of
from kinesweep.store import Store, open_store
from kinesweep.store.index import ClipRecord
from kinesweep.training.files import read_json
from kinesweep.training.model_files import FEATURES
from kinesweep.training.model_folder import ModelFolder, read_model_folder
from kinesweep.training.predictions import Prediction

_CLIPS = 3
_MOST_BYTES = 2 * 2**30
_SOFT = (KinesweepError, OSError, RuntimeError, MemoryError)
"""What may go wrong with features and models that a report stands without; torch runs out of
memory with a RuntimeError."""


def draw_winner(
    folder: Path, run: Path, said: Sequence[Prediction], base: Store
) -> tuple[list[Picture], list[str]]:
    """Writes pictures and pages into a report's folder, in place of those of an earlier report.

    Args:
        folder: the report's.
        run: the winner's, which is exported.
        said: its predictions on validation.
        base: the store of the sweep's recipe; the winner may have features of its own.

    Returns:
        The clips, and why something of them is not shown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("clip-*.png"), *folder.glob("attention-*.html")):
        old.unlink()
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
    """The store that the winner was trained on: the sweep's, or one beside it.

    Raises:
        StoreError: it is gone.
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
    """Names of a picture of each clip; empty where there is none, and then a reason more."""
    names = [f"clip-{number}.png" for number, _ in enumerate(records, start=1)]
    try:
        for name, record in zip(names, records, strict=True):
            write_clip(folder / name, Stage(scenes_of(store, record)))
    except _SOFT as error:
        reasons.append(f"pictures of clips ({error})")
        return [""] * len(records)
    return names


def _pages(
    folder: Path, run: Path, store: Store, records: Sequence[ClipRecord], reasons: list[str]
) -> list[str]:
    """Names of a page of each clip; empty where there is none, and then a reason more."""
    if not records:
        return []
    names = [f"attention-{number}.html" for number, _ in enumerate(records, start=1)]
    by_hand = (
        f"`kinesweep attention {run} {records[0].clip.id} --store {store.folder} --out FILE.html`"
        " shows it"
    )
    if _is_heavy(run):
        reasons.append(f"what the winner looked at: its model is not loaded here; {by_hand}")
        return [""] * len(records)
    try:
        loaded: ModelFolder = read_model_folder(run / "best", device="cpu")
        for name, record in zip(names, records, strict=True):
            write_attention(folder / name, page_of_record(loaded, store, record, run.name))
    except _SOFT as error:
        reasons.append(f"what the winner looked at ({error}); {by_hand}, where it can")
        return [""] * len(records)
    return names


def _is_heavy(run: Path) -> bool:
    """Whether loading the model would take long: it has a base, or gigabytes of its own."""
    config = read_json(run / "best" / "config.json")
    return config.get("base") is not None or bytes_below(run / "best") > _MOST_BYTES
