"""The far end of an estimator's pipe: decodes videos, estimates, writes `.pose` files.

This file runs alone, in the estimator's environment, where Kinesweep is not installed; it imports
nothing of it. Requests and answers are JSON, a line each: `{"source", "out", "fps"}` is answered by
what was written, or by `{"reason", "message"}`. Whatever libraries print goes to stderr.

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
    """A module that no package of this environment holds."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


film = _load_file("kinesweep_film", Path(__file__).parents[2] / "sources" / "film.py")
VideoError = film.VideoError


def load(module: str, file: str, attribute: str) -> Any:
    """An estimator's class; by its file where its package is not installed."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise
        found = _load_file("estimator", Path(file))
    return getattr(found, attribute)


def estimate(estimator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One video; its poses are there whole or not at all."""
    out, began, worked = Path(request["out"]), time.perf_counter(), time.process_time()
    video = film.Film(Path(request["source"]), request.get("fps"))
    pose = estimator(iter(video), video.fps, video.width, video.height)
    frames = len(pose.body.data)
    if frames != video.read:
        raise VideoError(f"gave {video.read} frames, its poses have {frames}", "wrong_length")
    out.parent.mkdir(parents=True, exist_ok=True)
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
    """Answers until the pipe ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    estimator = load(*sys.argv[1:4])()
    for line in sys.stdin:
        try:
            answer = estimate(estimator, json.loads(line))
        except VideoError as error:
            answer = {"reason": error.reason, "message": str(error)}
        except Exception as error:  # whatever the estimator raises is one file's, not the others'
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = {"reason": "estimator_failed", "message": said}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
