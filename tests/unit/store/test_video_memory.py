"""Memory of decoding and extraction: an hour of film, and thousands of short clips."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from films import write_video
from vision import vision_model

ROOT = Path(__file__).resolve().parents[3]
_MANY = int(os.environ.get("KINESWEEP_MEMORY_CLIPS", 1500))
"""Clips of the long form; `make memory` asks for 10,000."""


def long_video(path: Path, seconds: int, fps: int = 4) -> Path:
    """A film of noise that changes every second."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for second in range(seconds):
            picture = np.kron(rng.integers(0, 256, (8, 12, 3), np.uint8), np.ones((8, 8, 1)))
            for _ in range(fps):
                frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            del second
        container.mux(stream.encode())
    return path


def run(script: str, folder: Path) -> list[float]:
    """Runs a script in a fresh process; the numbers that it prints."""
    paths = os.pathsep.join([str(ROOT / "platform"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    # After a large block was freed, glibc keeps blocks of its size for later: up to two windows of
    # 19 MB more or less, from run to run. With a fixed threshold only what is in use counts.
    environment["MALLOC_MMAP_THRESHOLD_"] = "1000000"
    (folder / "run.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, str(folder / "run.py")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(word) for word in done.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [5, pytest.param(60, marks=pytest.mark.proof)])
def test_memory_of_decoding_does_not_grow_with_the_film(tmp_path: Path, minutes: int) -> None:
    """As a decoding actor does it: windows of 128 frames of 224 pixels, two of them a batch."""
    film = long_video(tmp_path / "long.mp4", 60 * minutes)
    expected = 25 * 60 * minutes // 128
    windows, early_mb, peak_mb = run(
        f"""
        from pathlib import Path
        from kinesweep.core.video_files import VideoSegment
        from kinesweep.config.recipe.video import VideoFeaturesConfig
        from kinesweep.features.video import VideoFeatures, iter_batches
        import kinesweep.store.extraction.video_actors as actors  # all that an actor imports
        config = VideoFeaturesConfig.model_validate({{
            "encoder": {{"kind": "signhiera", "checkpoint": "none.pth"}},
            "windows": {{"num_frames": 128, "sampling_rate": 2, "stride": 128}},
        }})
        def peak_mb():
            # Of this process alone: `ru_maxrss` begins with that of the process that started it.
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000
        count, early = 0, 0.0
        segment = VideoSegment(Path({str(film)!r}))
        _, windows = VideoFeatures(config).iter_segment_windows(segment, 224)
        for pack in iter_batches(((0, window) for window in windows), config.batch):
            actors._make_batch_row(0, count, pack, "")
            count += len(pack)
            if not early and count >= {expected} / 3:
                early = peak_mb()
        print(count, early, peak_mb())
        """,
        tmp_path,
    )
    assert abs(windows - expected) <= 1  # of 256 frames, every 128
    print(f"{minutes} minutes: {early_mb:.0f} MB after a third, {peak_mb:.0f} MB at most")
    assert peak_mb < 1000
    # One window is 19 MB, and a third of the short film has 19.
    assert peak_mb - early_mb < 25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clips", "width"), [(200, 1024), pytest.param(_MANY, 64, marks=pytest.mark.proof)]
)
def test_thousands_of_clips_hold_a_flat_memory_curve(
    tmp_path: Path, clips: int, width: int
) -> None:
    """Few clips of large frames (0.7 MB a clip), or thousands of small ones."""
    vision_model(tmp_path / "dinov2", "dinov2")
    for number in range(20):
        write_video(tmp_path / "films" / f"{number}.mp4", 30, width=width + 16 * (number % 4))
    for split, count in (("train", clips), ("validation", 2)):
        rows = ["id\tsignal\tsignal_start\tsignal_end\toutput"]
        for number in range(count):
            start = 40 * (1 + number % 20)
            rows.append(
                f"{split}{number}\tfilms/{number % 20}.mp4\t{start}\t{start + 160}\tText {number}."
            )
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows), encoding="utf-8")
    found = run(
        f"""
        from pathlib import Path
        import psutil
        from kinesweep.store.extraction.build import extract_locally
        from vision import film_recipe
        corpus = Path({str(tmp_path)!r})
        own, curve = psutil.Process(), []
        def told(done, total, note="", /):
            curve.append((done / total, own.memory_info().rss / 1e6))
        store = extract_locally(film_recipe(corpus, corpus / "dinov2", corpus / "stores"),
                                progress=told)
        assert len(store.get_records("train")) == {clips}
        print(*(mb for share, mb in curve if share >= 0.2))
        """,
        tmp_path,
    )
    first, last = np.mean(found[:3]), np.mean(found[-3:])
    print(f"{clips} clips: {first:.0f} MB after a fifth, {last:.0f} MB at the end")
    assert last < 1.05 * first + 10
