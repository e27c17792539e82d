"""Whether a bundle, loaded in a fresh process, writes the texts that its run wrote.

Two things are compared, both exactly: every validation text, decoded from the store's features in
the batches of the run; and the features of some raw files with those in the store. Together they
say that raw files are translated as they were during evaluation. It takes as long as decoding
validation, and some 10 s for the process.
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

from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, KinesweepError
from kinesweep.core.recipe.video import VideoFeaturesConfig
from kinesweep.core.units import Span
from kinesweep.export.bundle import PREDICTIONS, check_files
from kinesweep.export.translate import Bundle
from kinesweep.sources import build_source
from kinesweep.sources.contract import Source
from kinesweep.sources.h5_shards import write_streams
from kinesweep.sources.pose_rows import POSE_SUFFIX
from kinesweep.sources.shard_map import SHARD_SUFFIX
from kinesweep.store import Store, open_store
from kinesweep.training.determinism import pin_process
from kinesweep.training.evaluate import evaluate_loaded
from kinesweep.training.model_files import read_recipe
from kinesweep.training.predictions import read_predictions

_TIMEOUT_S = 3600
_RAW_FILES = 8
_DEVICES = 0.02
"""Of the largest value: what bfloat16 on a GPU differs by from float32 on a CPU."""
_COMMAND = "import sys; from kinesweep.export.verify import main; main(*sys.argv[1:])"


def verify_bundle(folder: Path, store: Path, run: Path) -> int:
    """Loads a bundle in another process and compares. Returns the number of texts compared.

    Args:
        folder: the bundle.
        store: the features that its run was scored on.
        run: its run folder, whose recipe says where the raw files are.

    Raises:
        BundleError: damaged, or a text or a file's features differ; with the clip.
    """
    check_files(folder)
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-c", _COMMAND, str(folder), str(store), str(run)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=env)
    except subprocess.TimeoutExpired:
        raise BundleError(f"`{folder}` was not verified within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise BundleError(f"`{folder}` could not be verified: {done.stderr.strip()[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if "error" in answer:
        raise BundleError(answer["error"])
    return int(answer["texts"])


def compare(folder: Path, store: Store, run: Path) -> int:
    """The comparison itself, in this process. Returns the number of texts.

    Raises:
        BundleError: a text or a file's features differ.
    """
    bundle = Bundle.load(folder, pin_process(read_recipe(folder)))
    _compare_features(bundle, store, build_source(read_recipe(run / "best").corpus))
    wanted = {p.clip_id: p.hypothesis for p in read_predictions(folder / PREDICTIONS)}
    found = evaluate_loaded(bundle.loaded, store, "validation").predictions
    again = {p.clip_id: p.hypothesis for p in found}
    for clip_id in sorted(wanted.keys() | again.keys()):
        if wanted.get(clip_id) != again.get(clip_id):
            raise BundleError(
                f"the bundle `{folder}` translates `{clip_id}` as {again.get(clip_id)!r}, but its"
                f" run wrote {wanted.get(clip_id)!r}"
            )
    return len(again)


def main(folder: str, store: str, run: str) -> None:
    """`compare` for a process of its own: the answer is a line of JSON."""
    try:
        answer: dict[str, object] = {
            "texts": compare(Path(folder), open_store(Path(store)), Path(run))
        }
    except KinesweepError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


def _compare_features(bundle: Bundle, store: Store, source: Source) -> None:
    """Compares raw files, where they are still there, with the store."""
    for record in store.records("validation")[:_RAW_FILES]:
        with tempfile.TemporaryDirectory() as own:
            try:
                path, *beside = _raw_files(bundle, source, record.clip, Path(own))
            except KinesweepError:
                continue  # the corpus lies elsewhere; the store alone decides
            found = bundle.features(path, record.clip.span, *beside)
        wanted = store.features(record)
        if record.clip.reference and not beside:
            # A part of a `.pose` file is no file of its own; what is left is compared.
            for streams in (found, wanted):
                streams.pop("reference", None)
        same = found.keys() == wanted.keys()
        exact = not isinstance(bundle.loaded.recipe.features, VideoFeaturesConfig)
        if not same or not all(_alike(found[name], wanted[name], exact) for name in wanted):
            raise BundleError(
                f"the bundle `{bundle.loaded.recipe.name}` computes other features of"
                f" `{record.clip.id}` than its run was trained on; extract and train again"
            )


def _raw_files(bundle: Bundle, source: Source, clip: Clip, own: Path) -> list[Path]:
    """What a bundle translates of a clip; of files that hold many, one of it alone.

    Args:
        bundle: which translates.
        source: the corpus.
        clip: of the corpus.
        own: an empty folder.

    Raises:
        ClipError: it is not there.
    """
    if bundle.loaded.recipe.corpora[0].kind == "h5_shards":
        streams: Any = source.read(clip)
        return [write_streams(own / f"clip{SHARD_SUFFIX}", streams)]
    path = source.media_path(clip)
    if bundle.loaded.recipe.corpora[0].kind != "skeletons":
        return [path, *source.companions(clip)]
    if path.suffix == POSE_SUFFIX:
        return [path]
    whole: Any = source.read(replace(clip, span=Span()))
    files = {"clip.npy": whole.pose, "reference.npy": whole.reference}
    there = {own / name: pose for name, pose in files.items() if pose is not None}
    for name, pose in there.items():
        np.save(name, pose.points_TPJC[:, 0])
    return list(there)


def _alike(found: NDArray[np.floating], wanted: NDArray[np.floating], exact: bool) -> bool:
    """Whether features are the same; those of a video model but for what devices differ by."""
    if exact or found.shape != wanted.shape:
        return np.array_equal(found, wanted)
    largest = float(np.abs(wanted).max())
    return bool(np.abs(found.astype(np.float32) - wanted).max() <= _DEVICES * largest)
