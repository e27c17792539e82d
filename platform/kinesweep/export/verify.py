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
from kinesweep.evaluation.evaluate import evaluate_loaded
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export.bundle import PREDICTIONS, check_files
from kinesweep.export.translate import Bundle
from kinesweep.sources import build_source
from kinesweep.sources.base import Source
from kinesweep.sources.precomputed.h5_shards import write_streams
from kinesweep.sources.precomputed.shard_index import SHARD_SUFFIX
from kinesweep.sources.tsv.tsv_rows import POSE_SUFFIX
from kinesweep.store import Store, open_store
from kinesweep.training.reproducibility.determinism import pin_process

_TIMEOUT_S = 3600
_RAW_FILES = 8
# Tolerance relative to the largest value: the difference of bfloat16 on a GPU to float32 on a CPU.
_DEVICES = 0.02
_COMMAND = "import sys; from kinesweep.export.verify import main; main(*sys.argv[1:])"


def verify_bundle(folder: Path, store: Path, run: Path) -> int:
    """Load a bundle in another process and compare it with its run.

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
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=env)
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"verification of `{folder}` did not finish within {_TIMEOUT_S} s"
        ) from None
    if done.returncode != 0:
        raise BundleError(f"`{folder}` could not be verified: {done.stderr.strip()[-2000:]}")
    # Libraries may print too; the answer is the last line.
    answer = json.loads(done.stdout.splitlines()[-1])
    if "error" in answer:
        raise BundleError(answer["error"])
    return int(answer["texts"])


def compare(folder: Path, store: Store, run: Path) -> int:
    """Compare a bundle with its run in this process; returns the number of texts.

    Raises:
        BundleError: If a text or the features of a file differ.
    """
    # `pin_process` sets deterministic kernels, so it must run before the model is loaded.
    bundle = Bundle.load(folder, pin_process(read_recipe(folder)))
    _compare_features(bundle, store, build_source(read_recipe(run / "best").corpus))
    wanted = {p.clip_id: p.hypothesis for p in read_predictions(folder / PREDICTIONS)}
    found = evaluate_loaded(bundle.loaded, store, "validation").predictions
    again = {p.clip_id: p.hypothesis for p in found}
    # The union also finds clips that only one side has; their other text is None.
    for clip_id in sorted(wanted.keys() | again.keys()):
        if wanted.get(clip_id) != again.get(clip_id):
            raise BundleError(
                f"the bundle `{folder}` translates `{clip_id}` as {again.get(clip_id)!r}, but its"
                f" run wrote {wanted.get(clip_id)!r}"
            )
    return len(again)


def main(folder: str, store: str, run: str) -> None:
    """Run `compare` as the main function of a process and print the answer as a line of JSON."""
    try:
        answer: dict[str, object] = {
            "texts": compare(Path(folder), open_store(Path(store)), Path(run))
        }
    except KinesweepError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


def _compare_features(bundle: Bundle, store: Store, source: Source) -> None:
    """Compare the features of raw files with the store, as far as the files still exist."""
    for record in store.records("validation")[:_RAW_FILES]:
        with tempfile.TemporaryDirectory() as own:
            try:
                path, *beside = _raw_files(bundle, source, record.clip, Path(own))
            except KinesweepError:
                continue  # the corpus is not on this machine; the stored features must suffice
            found = bundle.features(path, record.clip.span, *beside)
        wanted = store.features(record)
        if record.clip.reference and not beside:
            # A reference inside a `.pose` file cannot be passed as a file; compare the rest.
            for streams in (found, wanted):
                streams.pop("reference", None)
        # Only video encoders are compared with a tolerance; they may have run on another device.
        same = found.keys() == wanted.keys()
        exact = not isinstance(bundle.loaded.recipe.features, VideoFeaturesConfig)
        if not same or not all(_alike(found[name], wanted[name], exact) for name in wanted):
            raise BundleError(
                f"the bundle `{bundle.loaded.recipe.name}` computes other features of"
                f" `{record.clip.id}` than those its run was trained on; extract and train again"
            )


def _raw_files(bundle: Bundle, source: Source, clip: Clip, own: Path) -> list[Path]:
    """Return the raw files of a clip; clips from a file with many are written to separate files.

    Args:
        bundle: Bundle that translates the files.
        source: Source that contains the clip.
        clip: Clip of the corpus.
        own: Empty folder for the written files.

    Raises:
        ClipError: If the media of the clip do not exist.
    """
    if bundle.loaded.recipe.corpora[0].kind == "h5_shards":
        streams: Any = source.read(clip)
        return [write_streams(own / f"clip{SHARD_SUFFIX}", streams)]
    path = source.media_path(clip)
    if bundle.loaded.recipe.corpora[0].kind != "skeletons":
        return [path, *source.auxiliary_files(clip)]
    if path.suffix == POSE_SUFFIX:
        return [path]
    # The whole motion is written, because the caller applies the span of the clip.
    whole: Any = source.read(replace(clip, span=Span()))
    files = {"clip.npy": whole.pose, "reference.npy": whole.reference}
    there = {own / name: pose for name, pose in files.items() if pose is not None}
    for name, pose in there.items():
        np.save(name, pose.points_TPJC[:, 0])
    return list(there)


def _alike(found: NDArray[np.floating], wanted: NDArray[np.floating], exact: bool) -> bool:
    """Whether features are equal, exactly or within the tolerance for different devices."""
    if exact or found.shape != wanted.shape:
        return np.array_equal(found, wanted)
    largest = float(np.abs(wanted).max())
    return bool(np.abs(found.astype(np.float32) - wanted).max() <= _DEVICES * largest)
