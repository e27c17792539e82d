"""Main program of the estimator's subprocess: decode videos, estimate poses, write `.pose` files.

This file runs by itself in the estimator's environment, where Kinesweep is not installed, so it
must not import anything from it. Requests and responses are JSON, one per line: the response to a
request `{"source", "out", "fps"}` contains the properties of the written file or
`{"reason", "message"}`. Anything that libraries print goes to stderr.

Usage: python worker_main.py MODULE FILE CLASS [SETTINGS], the last as JSON
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
    # Dataclasses look their module up while it is executed.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# The only code shared with Kinesweep; it needs nothing beyond PyAV and numpy. Each module imports
# earlier ones by their full names, which Python finds in `sys.modules` without the package.
_VIDEO_MODULES = ("frame_rate", "video_packets", "video_times", "video_file", "video_reader")
_SHARED_MODULES = (
    *(f"sources.video.{name}" for name in _VIDEO_MODULES),
    "core.skeleton.keypoints",
    "features.estimators.smpl.smpl_pose",
    "features.estimators.smpl.person_boxes",
)
for _name in _SHARED_MODULES:
    _full_name = f"kinesweep.{_name}"
    if _full_name not in sys.modules:
        _file = Path(__file__).parents[2].joinpath(*_name.split(".")).with_suffix(".py")
        sys.modules[_full_name] = _import_from_file(_full_name, _file)
video_reader = sys.modules["kinesweep.sources.video.video_reader"]
VideoError = video_reader.VideoError


def load_estimator_class(module: str, file: str, class_name: str) -> Any:
    """Load the class of an estimator from its module, or from its file.

    The file is used if the package of the module is not installed in this environment.

    Args:
        module: Name of the module.
        file: Path of the module's file.
        class_name: Name of the class in the module.

    Raises:
        ImportError: If a dependency of the module is missing.
        AttributeError: If the module does not contain the class.
    """
    try:
        imported_module = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # Only the estimator's own package may be missing; a missing dependency is a real error.
        if error.name not in (module, module.partition(".")[0]):
            raise
        imported_module = _import_from_file("estimator", Path(file))
    return getattr(imported_module, class_name)


def estimate_video_poses(estimator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Estimate the poses of a video, write them to a file atomically and return the response.

    Args:
        estimator: Estimator that is called with the frames of the video.
        request: Dict with `source`, `out` and `fps`.

    Returns:
        Dict with the properties of the video and of the written file.

    Raises:
        VideoError: If the video cannot be decoded, or the number of poses differs from that of its
            frames.
    """
    start_time, start_cpu_time = time.perf_counter(), time.process_time()
    out = Path(request["out"])
    video = video_reader.VideoReader(Path(request["source"]), request.get("fps"))
    # An estimator that reads the file by itself is told which one it is.
    if hasattr(estimator, "set_source"):
        estimator.set_source(request["source"])
    pose = estimator(iter(video), video.fps, video.width, video.height)
    num_frames = len(pose.body.data)
    # Only after the estimator has consumed the video is the number of its frames known.
    if num_frames != video.next_index:
        raise VideoError(
            f"the video has {video.next_index} frames, but its poses have {num_frames}",
            "wrong_length",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    # Atomic write: a temporary file in the same folder, flushed to disk before the rename. The
    # process id keeps concurrent workers apart.
    temporary_path = out.with_name(f".{out.name}.{os.getpid()}")
    with temporary_path.open("wb") as file:
        pose.write(file)
        file.flush()
        os.fsync(file.fileno())
    num_bytes = temporary_path.stat().st_size
    temporary_path.replace(out)
    return {
        "fps": video.fps,
        "width": video.width,
        "height": video.height,
        "frames": num_frames,
        "points": sum(len(component.points) for component in pose.header.components),
        "pose_bytes": num_bytes,
        "seconds": time.perf_counter() - start_time,
        "core_seconds": time.process_time() - start_cpu_time,
    }


def main() -> None:
    """Answer each request on standard input with a response on standard output until it ends."""
    # Keep the original stdout for responses and redirect file descriptor 1 to stderr, so that the
    # output of native libraries cannot mix with the protocol.
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # After the redirection, because importing and loading an estimator may print.
    settings = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    estimator = load_estimator_class(*sys.argv[1:4])(**settings)
    for line in sys.stdin:
        try:
            response = estimate_video_poses(estimator, json.loads(line))
        except VideoError as error:
            response = {"reason": error.reason, "message": str(error)}
        except Exception as error:  # an error concerns one file; the process must go on
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            response = {"reason": "estimator_failed", "message": message}
        responses.write(json.dumps(response) + "\n")
        # The other process waits for this line before it sends the next request.
        responses.flush()


if __name__ == "__main__":
    main()
