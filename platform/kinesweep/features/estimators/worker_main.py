"""Main program of the estimator's subprocess: decode videos, estimate poses, write `.pose` files.

This file runs by itself in the estimator's environment, where Kinesweep is not installed, so it
must not import anything from it. Requests and answers are JSON, one per line: a request
`{"source", "out", "fps"}` is answered by the properties of the written file or by
`{"reason", "message"}`. Anything that libraries print goes to stderr.

Usage: python worker_main.py MODULE FILE CLASS
"""

import importlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def _import_from_file(name: str, file: Path) -> Any:
    """Import a module from a file whose package is not installed in this environment."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The only code shared with Kinesweep; `video_reader.py` needs nothing beyond PyAV and numpy.
video_reader = _import_from_file(
    "kinesweep_film", Path(__file__).parents[2] / "sources" / "video" / "video_reader.py"
)
VideoError = video_reader.VideoError


def load_estimator_class(module: str, file: str, attribute: str) -> Any:
    """Load an estimator's class, from its file if its package is not installed."""
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Only the estimator's own package may be missing; a missing dependency is a real error.
        if error.name not in (module, module.partition(".")[0]):
            raise
        imported = _import_from_file("estimator", Path(file))
    return getattr(imported, attribute)


def estimate_video_poses(estimator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Estimate the poses of a video and write them atomically; return their properties."""
    out, start_time, start_cpu_time = Path(request["out"]), time.perf_counter(), time.process_time()
    video = video_reader.VideoReader(Path(request["source"]), request.get("fps"))
    pose = estimator(iter(video), video.fps, video.width, video.height)
    frames = len(pose.body.data)
    if frames != video.next_index:
        raise VideoError(
            f"the video has {video.next_index} frames, but its poses have {frames}", "wrong_length"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    # Atomic write: a temporary file in the same folder, flushed to disk before the rename. The
    # process id keeps concurrent workers apart.
    temporary_path = out.with_name(f".{out.name}.{os.getpid()}")
    with temporary_path.open("wb") as file:
        pose.write(file)
        file.flush()
        os.fsync(file.fileno())
    size = temporary_path.stat().st_size
    temporary_path.replace(out)
    return {
        "fps": video.fps,
        "width": video.width,
        "height": video.height,
        "frames": frames,
        "points": sum(len(component.points) for component in pose.header.components),
        "pose_bytes": size,
        "seconds": time.perf_counter() - start_time,
        "core_seconds": time.process_time() - start_cpu_time,
    }


def main() -> None:
    """Run the estimator for each request on standard input until it ends."""
    # Keep the original stdout for answers and redirect file descriptor 1 to stderr, so that prints
    # of native libraries cannot mix with the protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    estimator = load_estimator_class(*sys.argv[1:4])()
    for line in sys.stdin:
        try:
            answer = estimate_video_poses(estimator, json.loads(line))
        except VideoError as error:
            answer = {"reason": error.reason, "message": str(error)}
        except Exception as error:  # an error concerns one file; the process must go on
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = {"reason": "estimator_failed", "message": message}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
