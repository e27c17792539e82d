"""Verification that a bundle, loaded in a new process, produces the texts of its run.

Two things are compared: every validation text, decoded from the stored features in the batches of
the run, and the features of up to 8 raw files with those in the store. Both must be equal, except
that video features may differ by 2 % of the largest value, as between devices. Together they show
that raw files are translated as during evaluation. Verification takes as long as decoding the
validation split, plus about 10 s to start the process.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.checkpoints.model_dir_files import read_recipe
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, KinesweepError
from kinesweep.core.units import Span
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export.bundle import PREDICTIONS, check_files
from kinesweep.export.translate import Bundle
from kinesweep.sources import build_source
from kinesweep.sources.base import Source
from kinesweep.sources.precomputed.h5_shards import write_streams
from kinesweep.sources.precomputed.shard_index import SHARD_SUFFIX
from kinesweep.sources.tsv.tsv_rows import POSE_SUFFIX
from kinesweep.store import Store, open_store
from kinesweep.training.reproducibility.determinism import configure_process

_TIMEOUT_S = 3600
_MAX_RAW_FILES = 8
# Tolerance relative to the largest value: the difference of bfloat16 on a GPU to float32 on a CPU.
_DEVICE_TOLERANCE = 0.02
_COMMAND = "import sys; from kinesweep.export.verify import main; main(*sys.argv[1:])"


def verify_bundle(folder: Path, store: Path, run: Path) -> int:
    """Verify a bundle: load it in another process and compare it with its run.

    Args:
        folder: Folder of the bundle.
        store: Folder of the feature store that the run was evaluated on.
        run: Run folder; its recipe contains the location of the raw files.

    Returns:
        Number of compared texts.

    Raises:
        BundleError: If the bundle is damaged, or a text or the features of a file differ; the
            message names the clip.
    """
    check_files(folder)
    # The new process must import this copy of the package even if it is not installed.
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-c", _COMMAND, str(folder), str(store), str(run)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=env
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"verification of `{folder}` did not finish within {_TIMEOUT_S} s"
        ) from None
    if process.returncode != 0:
        raise BundleError(f"`{folder}` could not be verified: {process.stderr.strip()[-2000:]}")
    # Libraries may print too; the result is the last line.
    result = json.loads(process.stdout.splitlines()[-1])
    if "error" in result:
        raise BundleError(result["error"])
    return int(result["texts"])


def compare_bundle_with_run(folder: Path, store: Store, run: Path) -> int:
    """Compare a bundle with its run in this process; return the number of compared texts.

    Raises:
        BundleError: If a text or the features of a file differ.
    """
    # `configure_process` sets deterministic kernels, so it must run before the model is loaded.
    bundle = Bundle.load(folder, configure_process(read_recipe(folder)))
    _check_raw_file_features(
        bundle, store, build_source(read_recipe(run / "best").effective_source)
    )
    expected_texts = {p.clip_id: p.hypothesis for p in read_predictions(folder / PREDICTIONS)}
    predictions = evaluate_loaded_model(bundle.loaded, store, "validation").predictions
    actual_texts = {p.clip_id: p.hypothesis for p in predictions}
    # The union also finds clips that only one side has; their other text is None.
    for clip_id in sorted(expected_texts.keys() | actual_texts.keys()):
        if expected_texts.get(clip_id) != actual_texts.get(clip_id):
            raise BundleError(
                f"the bundle `{folder}` translates `{clip_id}` as {actual_texts.get(clip_id)!r},"
                " but its"
                f" run wrote {expected_texts.get(clip_id)!r}"
            )
    return len(actual_texts)


def main(folder: str, store: str, run: str) -> None:
    """Run `compare_bundle_with_run` in a process of its own and print the result as JSON."""
    try:
        result: dict[str, object] = {
            "texts": compare_bundle_with_run(Path(folder), open_store(Path(store)), Path(run))
        }
    except KinesweepError as error:
        result = {"error": str(error)}
    sys.stdout.write(json.dumps(result) + "\n")


def _check_raw_file_features(bundle: Bundle, store: Store, source: Source) -> None:
    """Check that raw files give the features of the store; skip files that no longer exist."""
    for record in store.get_records("validation")[:_MAX_RAW_FILES]:
        with tempfile.TemporaryDirectory() as temp_dir:
            try:
                path, *auxiliary_files = _get_raw_files(bundle, source, record.clip, Path(temp_dir))
            except KinesweepError:
                continue  # the corpus is not on this machine; the stored features must suffice
            actual = bundle.compute_features(path, record.clip.span, *auxiliary_files)
        expected = store.get_features(record)
        if record.clip.reference and not auxiliary_files:
            # A reference inside a `.pose` file cannot be passed as a file; compare the rest.
            for streams in (actual, expected):
                streams.pop("reference", None)
        # Only video encoders are compared with a tolerance; they may have run on another device.
        same_streams = actual.keys() == expected.keys()
        exact = not isinstance(bundle.loaded.recipe.features, VideoFeaturesConfig)
        if not same_streams or not all(
            _are_features_equal(actual[name], expected[name], exact) for name in expected
        ):
            raise BundleError(
                f"the bundle `{bundle.loaded.recipe.name}` computes other features of"
                f" `{record.clip.id}` than those its run was trained on; extract and train again"
            )


def _get_raw_files(bundle: Bundle, source: Source, clip: Clip, temp_dir: Path) -> list[Path]:
    """Return the raw files of a clip; clips from a file with many are written to separate files.

    Args:
        bundle: Bundle that translates the files.
        source: Source that contains the clip.
        clip: Clip of the corpus.
        temp_dir: Empty folder for the written files.

    Raises:
        ClipError: If the media of the clip do not exist.
    """
    if bundle.loaded.recipe.corpora[0].kind == "h5_shards":
        streams: Any = source.read(clip)
        return [write_streams(temp_dir / f"clip{SHARD_SUFFIX}", streams)]
    path = source.resolve_media_path(clip)
    if bundle.loaded.recipe.corpora[0].kind != "skeletons":
        return [path, *source.list_auxiliary_files(clip)]
    if path.suffix == POSE_SUFFIX:
        return [path]
    # The whole motion is written, because the caller applies the span of the clip.
    motion: Any = source.read(replace(clip, span=Span()))
    poses = {"clip.npy": motion.pose, "reference.npy": motion.reference}
    poses_by_path = {temp_dir / name: pose for name, pose in poses.items() if pose is not None}
    for name, pose in poses_by_path.items():
        np.save(name, pose.points_TPJC[:, 0])
    return list(poses_by_path)


def _are_features_equal(
    actual: NDArray[np.floating], expected: NDArray[np.floating], exact: bool
) -> bool:
    """Return whether features are equal, exactly or within the tolerance between devices."""
    if exact or actual.shape != expected.shape:
        return np.array_equal(actual, expected)
    largest = float(np.abs(expected).max())
    return bool(np.abs(actual.astype(np.float32) - expected).max() <= _DEVICE_TOLERANCE * largest)
