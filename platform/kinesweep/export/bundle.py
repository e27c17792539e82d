"""A bundle: the model folder of a run with its card, its predictions and a manifest of hashes.

It is built beside its place and renamed, the manifest last; a bundle with one other byte, one more
or one less file is refused with the file's name.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from kinesweep.core.errors import BundleError, CheckpointError
from kinesweep.core.hashing import file_sha256, folder_sha256
from kinesweep.export.card import write_card
from kinesweep.store import Store
from kinesweep.training.files import read_json, write_folder, write_json
from kinesweep.training.result import read_result

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.tsv"
PROMPTS = "prompts.json"


def export_bundle(
    run: Path, out: Path, store: Store, overwrite: bool = False, title: str = ""
) -> Path:
    """Makes a bundle of a finished run.

    Args:
        run: the run folder.
        out: the bundle's folder; it must not exist.
        store: the features it was trained on.
        overwrite: replace a bundle that is there.
        title: what the card is headed with; default: the recipe's name.

    Returns:
        `out`.

    Raises:
        CheckpointError: the run is not finished.
        BundleError: `out` is there, or is no bundle that could be replaced.
    """
    result = read_result(run)
    if result is None or result.status != "finished":
        state = result.status if result else "not ended"
        raise CheckpointError(f"`{run}` is {state}; only a finished run is exported")
    if out.exists():
        if not overwrite:
            raise BundleError(f"`{out}` exists; give another folder, or `--overwrite`")
        if not (out / MANIFEST).is_file():
            raise BundleError(f"`{out}` is not a bundle and is not replaced; give another folder")
        shutil.rmtree(out)

    def fill(beside: Path) -> None:
        for path in sorted((run / "best").iterdir()):
            shutil.copyfile(path, beside / path.name)
        predictions = run / "predictions" / "validation.tsv"
        if predictions.exists():
            shutil.copyfile(predictions, beside / PREDICTIONS)
        write_json(beside / PROMPTS, _prompts(store))
        write_card(beside, result, title)
        write_json(beside / MANIFEST, folder_sha256(beside))

    out.parent.mkdir(parents=True, exist_ok=True)
    write_folder(out, fill)
    return out


def open_bundle(folder: Path) -> dict[str, Any]:
    """Checks every file of a bundle. Returns its manifest.

    Raises:
        BundleError: not a bundle, or a file is missing, changed or too many.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"`{folder}` is not a bundle: {MANIFEST} is missing")
    try:
        wanted: dict[str, str] = dict(read_json(folder / MANIFEST))
    except (ValueError, TypeError) as error:
        raise BundleError(f"`{folder / MANIFEST}` is damaged: {error}") from None
    for name, digest in wanted.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"`{folder}`: `{name}` is missing; copy the bundle again")
        if file_sha256(path) != digest:
            raise BundleError(f"`{folder}`: `{name}` was changed; copy the bundle again")
    return wanted


def _prompts(store: Store) -> dict[str, str]:
    """The prompts that most training clips had: what `translate` uses when none are given."""
    clips = [record.clip for record in store.records("train")]
    names = ("encoder_prompt", "decoder_prompt")
    return {n: Counter(getattr(c, n) for c in clips).most_common(1)[0][0] for n in names}
