"""Files of a replica: its bundle stays the same, and uploads do not outlive it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kinesweep.core.errors import BundleError
from kinesweep.export.bundle_manifest import MANIFEST, read_manifest_sha256
from kinesweep.serving.inference.bundle_loading import load_clip_translator
from kinesweep.serving.inference.upload_folder import UploadFolder, remove_abandoned_folders
from kinesweep.serving.limits import ServeLimits
from kinesweep.serving.replica_settings import ReplicaSettings


@pytest.fixture
def temp_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_replaced_bundle_is_not_loaded(bundle_dir: Path, tmp_path: Path) -> None:
    """A replica that starts later would give other texts than those that run."""
    served = tmp_path / "bundle"
    shutil.copytree(bundle_dir, served)
    sha256 = read_manifest_sha256(served)
    with (served / MANIFEST).open("a") as manifest:
        manifest.write("\n")  # still a valid bundle, but another one
    settings = ReplicaSettings(served, sha256, 1, 0.0, False, None, limits=ServeLimits())
    with pytest.raises(BundleError, match="replaced since the server started"):
        load_clip_translator(settings)
    shutil.rmtree(served)
    with pytest.raises(BundleError, match="is not a bundle"):
        load_clip_translator(settings)


def test_uploads_are_removed_with_their_request_and_their_replica(temp_dir: Path) -> None:
    uploads = UploadFolder()
    with uploads.make_request_folder() as folder:
        (folder / "clip.pose").write_bytes(b"x")
    assert not folder.exists() and uploads.path.parent == temp_dir
    del uploads
    assert not list(temp_dir.iterdir())


def test_uploads_of_a_killed_replica_are_removed_by_others(temp_dir: Path) -> None:
    program = (
        "from kinesweep.serving.inference.upload_folder import UploadFolder\n"
        "import time; uploads = UploadFolder(); (uploads.path / 'clip.pose').write_bytes(b'x')\n"
        "print(uploads.path, flush=True); time.sleep(60)"
    )
    replica = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(temp_dir)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert replica.stdout is not None
    folder = Path(replica.stdout.readline().strip())
    own = UploadFolder()
    (temp_dir / "kinesweep-serve-of-another-version").mkdir()
    remove_abandoned_folders()
    assert (folder / "clip.pose").exists() and own.path.exists()
    replica.send_signal(signal.SIGKILL)
    replica.wait()
    remove_abandoned_folders()
    assert not folder.exists() and own.path.exists()
