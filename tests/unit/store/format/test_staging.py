"""A store is there whole or not at all: killed extractions, and two at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_corpus import change, extraction, make_corpus, write_media

from kinesweep.core.hashing import compute_file_hashes
from kinesweep.store.extraction.build import build_store
from kinesweep.store.format.staging import commit_store_dir, create_staging_dir
from kinesweep.store.inspect.checks import verify_store

pytestmark = pytest.mark.integration

SCRIPT = """
import sys
from pathlib import Path
from fake_corpus import extraction, make_corpus, write_media
from kinesweep.store.extraction.build import build_store
root = Path(sys.argv[1])
source = make_corpus(root, train=70)
for number in range(70):
    write_media(root, f"train-{number}", f"slow 3 frames of {number}")
print("ready", flush=True)
sys.stdin.readline()  # nobody may write media while another reads it
store = build_store(extraction(source, root / "stores"), progress=lambda *a: print(*a, flush=True))
print("done", store.folder, flush=True)
"""


def start(root):
    paths = [str(Path(__file__).parents[1]), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(process):
    process.stdin.write("\n")
    process.stdin.flush()


def slow_corpus(root):
    source = make_corpus(root, train=70)
    for number in range(70):
        write_media(root, f"train-{number}", f"slow 3 frames of {number}")
    return source


def test_a_killed_extraction_leaves_no_store_and_is_cleaned_up(tmp_path, monkeypatch):
    process = start(tmp_path)
    begin(process)
    while not process.stdout.readline().startswith("32 "):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stores = tmp_path / "stores"
    (left,) = stores.glob(".building-*")
    assert list(left.glob("shards/*.arrow"))
    assert [path for path in stores.iterdir() if not path.name.startswith(".")] == []
    monkeypatch.setattr(time, "sleep", lambda _: None)
    store = build_store(extraction(slow_corpus(tmp_path), stores))
    assert store.extraction.computed == 70
    verify_store(store)
    assert sorted(path.name for path in stores.iterdir()) == [".lock", store.folder.name]


def test_two_extractions_at_once_both_end_well(tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    assert [process.stdout.readline() for process in both] == ["ready\n", "ready\n"]
    for process in both:
        begin(process)
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    folders = {output.splitlines()[-1] for output in outputs}
    assert len(folders) == 1 and folders.pop().startswith("done ")
    names = [path.name for path in (tmp_path / "stores").iterdir()]
    assert len(names) == 2 and ".lock" in names


def test_a_living_extraction_is_not_cleaned_up(tmp_path):
    with create_staging_dir(tmp_path) as first, create_staging_dir(tmp_path) as second:
        assert first.is_dir() and second.is_dir() and first != second
    assert not first.exists() and not second.exists()


def test_a_dead_folder_is_removed_by_the_next_extraction(tmp_path):
    for name, locked in ((".building-a", True), (".building-b", False)):
        (tmp_path / name / "shards").mkdir(parents=True)
        if locked:
            (tmp_path / name / "alive.lock").touch()
    (tmp_path / "stranger").mkdir()
    with create_staging_dir(tmp_path) as folder:
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", "stranger", folder.name}


def test_the_first_to_finish_wins(tmp_path):
    final = tmp_path / "store"
    with create_staging_dir(tmp_path) as first, create_staging_dir(tmp_path) as second:
        (first / "x").write_text("first")
        (second / "x").write_text("second")
        assert commit_store_dir(first, final)
        assert not commit_store_dir(second, final)
    assert compute_file_hashes(final).keys() == {"x"}
    assert (final / "x").read_text() == "first"


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    source = make_corpus(tmp_path, train=3)

    def fail(*_):
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        build_store(extraction(source, tmp_path / "stores"), fail)
    assert [path.name for path in (tmp_path / "stores").iterdir()] == [".lock"]


def test_what_a_dead_worker_left_does_not_enter_the_store(tmp_path):
    source = change(make_corpus(tmp_path, train=3), "train-0", texts=("x",))

    def execute(plan, computer):
        (computer.folder / "shards").mkdir()
        (computer.folder / "shards/.train-00000.arrow.torn").write_bytes(b"torn")
        for number, chunk in enumerate(plan.chunks):
            yield number, computer(chunk)

    store = build_store(extraction(source, tmp_path / "stores"), execute)
    fresh = build_store(extraction(source, tmp_path / "fresh"))
    assert compute_file_hashes(store.folder) == compute_file_hashes(fresh.folder)
