"""A script that scores sentences with COMET in the environment of its package.

It imports nothing of Kinesweep, because that environment has other versions of its packages. The
request and the answer are JSON files, whose paths are the arguments.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def _import_comet() -> Any:
    """Import COMET's package, which exists in the environment of this script only."""
    # By name, because an import statement would make it a dependency of Kinesweep.
    return importlib.import_module("comet")


def find_checkpoint(model_name: str) -> str:
    """Return the path of a model's checkpoint; a model of the hub is downloaded.

    Args:
        model_name: Local folder, path of a checkpoint, or hub id.
    """
    path = Path(model_name)
    if path.is_dir():
        return str(path / "checkpoints" / "model.ckpt")
    return str(path) if path.is_file() else str(_import_comet().download_model(model_name))


def score(request: dict[str, Any]) -> dict[str, Any]:
    """Score the samples of a request.

    Args:
        request: `model`, `samples` (dicts with `src`, `mt` and `ref`), `batch_size` and `device`
            (None for the CPU, or the index of a GPU).

    Returns:
        Dict with `scores` in the order of the samples, whether the model reads references
        (`references`), and the name of its class (`class`).
    """
    model = _import_comet().load_from_checkpoint(find_checkpoint(request["model"]))
    # Unified models say that they do not require references, even if they were trained with them.
    segments = model.hparams.get("input_segments") or ()
    uses_references = bool(model.requires_references()) or "ref" in segments
    samples = request["samples"]
    if not uses_references:
        samples = [{"src": sample["src"], "mt": sample["mt"]} for sample in samples]
    device = request["device"]
    prediction = model.predict(
        samples,
        batch_size=request["batch_size"],
        gpus=0 if device is None else 1,
        devices=None if device is None else [device],
        progress_bar=False,
    )
    return {
        "scores": [float(value) for value in prediction["scores"]],
        "references": uses_references,
        "class": type(model).__name__,
    }


def main(request_path: str, answer_path: str) -> None:
    """Read a request from a file, and write the scores or the reason of a failure to another."""
    try:
        answer = score(json.loads(Path(request_path).read_text(encoding="utf-8")))
    # Whatever fails in the package is a reason to report, not a crash of this script.
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    Path(answer_path).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
