"""Counting bytes while others remove what is counted."""

import shutil
import threading
from pathlib import Path

from kinesweep.core.paths import compute_directory_size


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"12345")
    (tmp_path / "file").write_bytes(b"123")
    assert compute_directory_size(tmp_path) == 8
    assert compute_directory_size(tmp_path / "nowhere") == 0


def test_folders_that_go_meanwhile(tmp_path: Path) -> None:
    """As checkpoints do beside a driver that looks after the disk."""
    ended = threading.Event()

    def churn() -> None:
        number = 0
        while not ended.is_set():
            folder = tmp_path / f"{number % 7}" / "checkpoint"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "file").write_bytes(b"1")
            shutil.rmtree(folder.parent, ignore_errors=True)
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3000):
            assert compute_directory_size(tmp_path) <= 7
    finally:
        ended.set()
        thread.join()
