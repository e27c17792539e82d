"""The settings that the media files of a prepared corpus were written with.

They lie beside the journals of the rows. A folder is never completed with other settings: half of
its clips would then have, for example, another frame rate.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.core.io import hold_lock_file, read_json, write_json

JOURNAL_FOLDER = "rows"
"""Folder of the journals and settings in the folder of a corpus."""

MEDIA_FOLDERS = ("poses", "videos", "features")
"""Folders of the media files in the folder of a corpus, each with a folder per split."""


@contextmanager
def lock_corpus(out: Path) -> Iterator[None]:
    """Let no other process write into the folder of a corpus during the `with` block.

    Raises:
        InputError: If another process does, or if there is a file of this name.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"`{out}` is a file; choose a folder for the corpus")
    try:
        with hold_lock_file(out / JOURNAL_FOLDER / "lock", timeout_s=0):
            yield
    except TimeoutError:
        raise InputError(
            f"another process prepares a corpus in `{out}`; wait for it or choose another folder"
        ) from None


def write_media_settings(settings: Mapping[str, Any], out: Path, overwrite: bool) -> None:
    """Write the settings into the folder of a corpus, or compare them with those in it.

    Args:
        settings: Everything that the media files depend on, as plain values.
        out: Folder of the corpus.
        overwrite: Whether to remove the journals and media files of other settings.

    Raises:
        InputError: If the folder contains media files of other settings and `overwrite` is False.
    """
    path = out / JOURNAL_FOLDER / "settings.json"
    # As JSON reads them: tuples become lists.
    settings = json.loads(json.dumps(settings))
    if path.is_file() and read_json(path) != settings:
        # A first attempt with a wrong option leaves settings and dropped rows, but no media.
        if not overwrite and any((out / folder).exists() for folder in MEDIA_FOLDERS):
            raise InputError(
                f"`{out}` contains media files that were written with other settings; choose"
                " another folder or use `--overwrite`"
            )
        for folder in MEDIA_FOLDERS:
            shutil.rmtree(out / folder, ignore_errors=True)
        # The lock file stays, because this process holds it.
        for journal in (out / JOURNAL_FOLDER).glob("*.jsonl"):
            journal.unlink()
    # Written last: if this call is killed before, the next one removes the rest.
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)
