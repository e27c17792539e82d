"""Verification that a bundle, loaded in a new process, produces the texts of its run.

Two things are compared: every validation text, decoded from the stored features in the batches of
the run, and the features of up to 8 raw files with those in the store. Both must be equal, except
that video features may differ by 2 % of the largest value, as between devices. Together they show
that raw files are translated as during evaluation. Verification takes as long as decoding the
validation split, plus about 10 s to start the process.

Shapes: T frames, D width.
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
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, KinesweepError
from kinesweep.core.units import Span
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.export.bundle import PREDICTIONS
from kinesweep.export.bundle_manifest import check_bundle_files
from kinesweep.export.input_translation import StreamFeatures
from kinesweep.export.raw_file_kinds import TEXT_SUFFIX
from kinesweep.export.raw_inputs import Input
from kinesweep.export.translate import Bundle
from kinesweep.sources import build_source
from kinesweep.sources.base import Source
from kinesweep.sources.precomputed.clip_h5_file import write_streams
from kinesweep.sources.precomputed.shard_index import SHARD_SUFFIX
from kinesweep.sources.skeletons.bvh_file import BVH_SUFFIX
from kinesweep.sources.tsv.media_names import POSE_SUFFIX
from kinesweep.store import Store, open_store
from kinesweep.training.reproducibility.determinism import configure_process

_TIMEOUT_S = 3600
_MAX_RAW_FILES = 8
# Tolerance relative to the largest value: the difference of bfloat16 on a GPU to float32 on a CPU.
_DEVICE_TOLERANCE = 0.02
_COMMAND = "import sys; from kinesweep.export.verify import main; main(*sys.argv[1:])"


def verify_bundle(bundle_dir: Path, store_dir: Path, run_dir: Path) -> int:
    """Verify a bundle by loading it in a new process and comparing it with its run there.

    Args:
        bundle_dir: Folder of the bundle.
        store_dir: Folder of the feature store that the run was evaluated on.
        run_dir: Run folder; its recipe contains the location of the raw files.

    Returns:
        Number of compared texts.

    Raises:
        BundleError: If the bundle is damaged, if a text or the features of a file differ (the
            message names the clip), or if the process fails or takes longer than an hour.
    """
    check_bundle_files(bundle_dir)
    # The new process must import this copy of the package even if it is not installed.
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-c", _COMMAND, str(bundle_dir), str(store_dir), str(run_dir)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=env
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"verification of `{bundle_dir}` did not finish within {_TIMEOUT_S} s"
        ) from None
    if process.returncode != 0:
        raise BundleError(f"`{bundle_dir}` could not be verified: {process.stderr.strip()[-2000:]}")
    # Libraries may print too; the result is the last line.
    result = json.loads(process.stdout.splitlines()[-1])
    if "error" in result:
        raise BundleError(result["error"])
    return int(result["texts"])


def compare_bundle_with_run(bundle_dir: Path, store: Store, run_dir: Path) -> int:
    """Compare the texts and the raw-file features of a bundle with those of its run.

    This sets seeds, threads and deterministic kernels for the whole process.

    Args:
        bundle_dir: Folder of the bundle.
        store: Feature store that the run was evaluated on.
        run_dir: Run folder; its recipe contains the location of the raw files.

    Returns:
        Number of compared texts.

    Raises:
        BundleError: If the bundle is damaged, or a text or the features of a file differ; the
            message names the clip.
        ResourceError: If the recipe requests a GPU, but none is available.
    """
    # `configure_process` sets deterministic kernels, so it must run before the model is loaded.
    recipe = read_recipe(bundle_dir)
    bundle = Bundle.load(bundle_dir, configure_process(recipe.training, recipe.resources))
    _check_raw_file_features(bundle, store, read_recipe(run_dir / "best"))
    expected_texts = {
        prediction.clip_id: prediction.hypothesis
        for prediction in read_predictions(bundle_dir / PREDICTIONS)
    }
    actual_texts = {
        prediction.clip_id: prediction.hypothesis
        for prediction in evaluate_loaded_model(bundle.loaded, store, "validation").predictions
    }
    # The union also finds clips that only one side has; their other text is None.
    for clip_id in sorted(expected_texts.keys() | actual_texts.keys()):
        if expected_texts.get(clip_id) != actual_texts.get(clip_id):
            raise BundleError(
                f"the bundle `{bundle_dir}` translates `{clip_id}` as"
                f" {actual_texts.get(clip_id)!r},"
                f" but its run wrote {expected_texts.get(clip_id)!r}"
            )
    return len(actual_texts)


def main(bundle_dir: str, store_dir: str, run_dir: str) -> None:
    """Run `compare_bundle_with_run` as the main function of a process and print its result.

    The result is one line of JSON: the number of compared texts as `texts`, or the message of an
    error as `error`.

    Args:
        bundle_dir: Folder of the bundle.
        store_dir: Folder of the feature store.
        run_dir: Run folder.
    """
    try:
        result: dict[str, object] = {
            "texts": compare_bundle_with_run(
                Path(bundle_dir), open_store(Path(store_dir)), Path(run_dir)
            )
        }
    except KinesweepError as error:
        result = {"error": str(error)}
    sys.stdout.write(json.dumps(result) + "\n")


def _check_raw_file_features(bundle: Bundle, store: Store, recipe: Recipe) -> None:
    """Check that the raw files of up to 8 validation clips give the features of the store.

    Clips whose raw files cannot be read, for example because the corpus is not on this machine, are
    skipped.

    Args:
        bundle: Bundle that computes features from the raw files.
        store: Feature store that the run was evaluated on.
        recipe: Recipe of the run, with the location of the raw files.

    Raises:
        BundleError: If the features of a file differ; the message names the clip.
    """
    part_sources = [
        (part.name, build_source(part_recipe.effective_source), part_recipe)
        for part, part_recipe in recipe.part_recipes
        if part.name in bundle.parts
    ]
    sources = part_sources or [("", build_source(recipe.effective_source), recipe)]
    for record in store.get_records("validation")[:_MAX_RAW_FILES]:
        for stream, source, part_recipe in sources:
            # Only the id is shared: the part names other media, and maybe another span.
            clip = _find_clip(source, record.clip) if stream else record.clip
            if clip is None or stream not in ("", *record.lengths):
                continue
            with tempfile.TemporaryDirectory() as temp_dir:
                try:
                    path, *auxiliary_files = _prepare_raw_files(
                        part_recipe.corpora[0].kind, source, clip, Path(temp_dir)
                    )
                except KinesweepError:
                    continue  # the corpus is not on this machine; the stored features must suffice
                item = Input(path, clip.span, auxiliary_file=next(iter(auxiliary_files), None))
                if stream:
                    item = replace(item, streams={stream: item})
                actual = bundle.compute_feature_arrays(item)
            expected = store.get_features(record)
            if stream:
                expected = {stream: expected[stream]}
            elif clip.reference and not auxiliary_files:
                # A reference motion inside a `.pose` file cannot be passed as a file; compare the
                # other streams.
                for streams in (actual, expected):
                    streams.pop("reference", None)
            # Only video encoders are compared with a tolerance; they may have run on another
            # device.
            is_video = isinstance(part_recipe.features, VideoFeaturesConfig)
            _compare_features(
                bundle, record.clip, actual, expected, _DEVICE_TOLERANCE if is_video else 0.0
            )


def _find_clip(source: Source, clip: Clip) -> Clip | None:
    """Find a clip by its id in the source of a part; None if the source does not have it."""
    if clip.split not in source.list_splits():
        return None
    return next((own for own in source.list_clips(clip.split) if own.id == clip.id), None)


def _compare_features(
    bundle: Bundle,
    clip: Clip,
    actual: StreamFeatures,
    expected: StreamFeatures,
    tolerance: float,
) -> None:
    """Compare the features of a raw file with those of the store.

    Args:
        bundle: Bundle that computed the features.
        clip: Clip, for the message.
        actual: Stream → computed features.
        expected: Stream → features of the store.
        tolerance: Largest difference, relative to the largest expected value.

    Raises:
        BundleError: If they differ.
    """
    if actual.keys() != expected.keys() or not all(
        _are_features_equal(actual[name], expected[name], tolerance) for name in expected
    ):
        raise BundleError(
            f"the bundle `{bundle.loaded.recipe.name}` computes other features of"
            f" `{clip.id}` than those its run was trained on; extract and train again"
        )


def _prepare_raw_files(source_kind: str, source: Source, clip: Clip, temp_dir: Path) -> list[Path]:
    """Return the paths of files with a clip, which the bundle can translate.

    They are the files of the corpus, except that streams of HDF5 shards and motions that are not in
    `.pose` files are read and written to new files, one clip each.

    Args:
        source_kind: Kind of the source.
        source: Source that contains the clip.
        clip: Clip of the corpus.
        temp_dir: Empty folder for the new files.

    Returns:
        Path of the media, followed by the path of the auxiliary file or reference motion if there
        is one.

    Raises:
        ClipError: If the media of the clip do not exist or cannot be read.
    """
    if source_kind == "h5_shards":
        streams: Any = source.read(clip)
        return [write_streams(temp_dir / f"clip{SHARD_SUFFIX}", streams)]
    if source_kind in ("text_tsv", "signwriting_tsv"):
        path = temp_dir / f"clip{TEXT_SUFFIX}"
        # The line break of the text, if it ends in one, must not be taken for that of the file.
        path.write_bytes(f"{clip.media}\n".encode())
        return [path]
    path = source.resolve_media_path(clip)
    if source_kind != "skeletons" or path.suffix.lower() == BVH_SUFFIX:
        return [path, *source.list_auxiliary_files(clip)]
    if path.suffix == POSE_SUFFIX:
        return [path]
    # The whole motion is written, because the caller applies the span of the clip.
    motion: Any = source.read(replace(clip, span=Span()))
    poses_by_file_name = {"clip.npy": motion.pose, "reference.npy": motion.reference_pose}
    paths = []
    for file_name, pose in poses_by_file_name.items():
        if pose is not None:
            paths.append(temp_dir / file_name)
            np.save(paths[-1], pose.points_TPJC[:, 0])
    return paths


def _are_features_equal(
    actual_TD: NDArray[np.floating], expected_TD: NDArray[np.floating], tolerance: float
) -> bool:
    """Return whether features have the same shape and their values differ by no more than allowed.

    Args:
        actual_TD: Computed features.
        expected_TD: Features of the store.
        tolerance: Largest difference, relative to the largest expected value; 0 requires equality.
    """
    if not tolerance or actual_TD.shape != expected_TD.shape:
        return np.array_equal(actual_TD, expected_TD)
    max_difference = float(np.abs(actual_TD.astype(np.float32) - expected_TD).max())
    return max_difference <= tolerance * float(np.abs(expected_TD).max())
