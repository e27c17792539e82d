"""Main program of the estimator's subprocess: decode videos, estimate poses, write `.pose` files.

This file runs by itself in the estimator's environment, where Kinesweep is not installed, so it
must not import anything from it. Requests and answers are JSON, one per line: a request
`{"source", "out", "fps"}` is answered by the properties of the written file or by
`{"reason", "message"}`. Anything that libraries print goes to stderr.

Usage: python child.py MODULE FILE CLASS
"""

import importlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def _load_file(name: str, file: Path) -> Any:
    """Import a module from a file whose package is not installed in this environment."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The only code shared with Kinesweep; `video_reader.py` needs nothing beyond PyAV and numpy.
film = _load_file(
    "kinesweep_film", Path(__file__).parents[2] / "sources" / "video" / "video_reader.py"
)
VideoError = film.VideoError


def load(module: str, file: str, attribute: str) -> Any:
    """Import an estimator's class, from its file if its package is not installed."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Only the estimator's own package may be missing; a missing dependency is a real error.
        if error.name not in (module, module.partition(".")[0]):
            raise
        found = _load_file("estimator", Path(file))
    return getattr(found, attribute)


def estimate(estimator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Estimate one video and write its poses; the file is complete or does not exist."""
    out, began, worked = Path(request["out"]), time.perf_counter(), time.process_time()
    video = film.VideoReader(Path(request["source"]), request.get("fps"))
    pose = estimator(iter(video), video.fps, video.width, video.height)
    frames = len(pose.body.data)
    if frames != video.read:
        raise VideoError(
            f"the video has {video.read} frames, but its poses have {frames}", "wrong_length"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    # Atomic write: a temporary file in the same folder, flushed to disk before the rename. The
    # process id keeps concurrent workers apart.
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    with beside.open("wb") as file:
        pose.write(file)
        file.flush()
        os.fsync(file.fileno())
    size = beside.stat().st_size
    beside.replace(out)
    return {
        "fps": video.fps,
        "width": video.width,
        "height": video.height,
        "frames": frames,
        "points": sum(len(component.points) for component in pose.header.components),
        "pose_bytes": size,
        "seconds": time.perf_counter() - began,
        "core_seconds": time.process_time() - worked,
    }


def main() -> None:
    """Answer requests until standard input ends."""
    # Keep the original stdout for answers and redirect file descriptor 1 to stderr, so that prints
    # of native libraries cannot mix with the protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    estimator = load(*sys.argv[1:4])()
    for line in sys.stdin:
        try:
            answer = estimate(estimator, json.loads(line))
        except VideoError as error:
            answer = {"reason": error.reason, "message": str(error)}
        except Exception as error:  # an error concerns one file; the process must go on
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = {"reason": "estimator_failed", "message": said}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
