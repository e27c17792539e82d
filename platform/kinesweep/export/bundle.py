"""Bundles: the model folder of a run with a model card, predictions and a manifest of hashes.

A finished run goes in. The result is a folder that Hugging Face can load, that documents how it was
made and that can translate raw files years later. It is built in a temporary folder, with the
manifest written last, and then renamed. A bundle with a changed or missing file, or an additional
file that a loader would read, is rejected with the name of the file.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.checkpoints.model_dir_files import FEATURES, read_recipe, write_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import BundleError, CheckpointError, KinesweepError
from kinesweep.core.hashing import file_sha256, folder_sha256
from kinesweep.core.io import read_json, write_folder, write_json
from kinesweep.export.mlflow_flavor import write_flavor
from kinesweep.export.model_card import write_card
from kinesweep.export.raw_inputs import columns_of, files_of_raw
from kinesweep.features import build_features
from kinesweep.store import Store
from kinesweep.training.run_records.result import RunResult, read_result

if TYPE_CHECKING:
    from kinesweep.checkpoints.model_dir import ModelFolder

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.tsv"
GENERATION = "generation_config.json"
PROMPTS = ("encoder_prompt", "decoder_prompt")
STEP = "feature_step"
VISION = "vision"
EMBEDDER = "embedder"
_FORMAT = 1
# Suffixes of files that Hugging Face, MLflow or Kinesweep would read. An unknown file with one of
# them could change what is loaded.
_READ_BY_LOADERS = frozenset({".json", ".safetensors", ".bin", ".model", ".txt", ".yaml", ".py"})


def export_bundle(
    run: Path,
    out: Path,
    store: Store,
    overwrite: bool = False,
    title: str = "",
    test: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Export a finished run as a bundle.

    Args:
        run: Run folder.
        out: Folder of the bundle.
        store: Feature store that the run was trained on.
        overwrite: Whether to replace an existing bundle.
        title: Heading of the model card; the name of the recipe by default.
        test: Test scores by metric, if they are not part of the run's result.
        facts: Additional table rows of the model card, for example the interval over seeds.

    Returns:
        `out`.

    Raises:
        CheckpointError: If the run is not finished or did not decode the whole validation split.
        BundleError: If `out` exists and must not be replaced, or the store has other features.
    """
    result = _finished(run)
    _check_place(out, overwrite)
    # Imports PyTorch, which takes seconds; the cheap checks above come first.
    from kinesweep.checkpoints.model_dir import read_model_folder

    loaded = read_model_folder(run / "best")
    wanted = loaded.features["store_fingerprint"]
    if store.fingerprint != wanted:
        raise BundleError(
            f"`{run}` was trained on the features {wanted[:12]}…, but the store `{store.folder}`"
            f" has {store.fingerprint[:12]}…; give the store of the run"
        )

    # Order matters: the card reads the recipe, and the manifest hashes everything before it.
    def fill(beside: Path) -> None:
        for path in sorted((run / "best").iterdir()):
            shutil.copyfile(path, beside / path.name)
        shutil.copyfile(run / "predictions" / "validation.tsv", beside / PREDICTIONS)
        # Overwrite the copies of `best`: without local paths, and with prompts and fingerprint.
        write_recipe(beside, loaded.recipe.portable())
        write_json(beside / FEATURES, {**loaded.features, **_reading(loaded, store)})
        write_json(beside / GENERATION, _generation(loaded))
        write_card(beside, result, store, title, test, facts)
        columns = columns_of(loaded.features["streams"]).values()
        write_flavor(beside, result.weights_sha256, files_of_raw(loaded.recipe), columns)
        _copy_encoder(loaded.recipe, beside)
        write_json(beside / MANIFEST, {"format": _FORMAT, "files": folder_sha256(beside)})

    out.parent.mkdir(parents=True, exist_ok=True)
    write_folder(out, fill)
    return out


def _check_place(out: Path, overwrite: bool) -> None:
    """Check that `out` is free, or a bundle that may be overwritten."""
    if out.exists() and not overwrite:
        raise BundleError(f"`{out}` exists; give another folder, or `--overwrite`")
    # `--overwrite` must never delete a folder that is something else.
    if out.exists() and not (out / MANIFEST).is_file():
        raise BundleError(f"`{out}` is not a bundle and is not replaced; give another folder")


def check_files(folder: Path) -> dict[str, str]:
    """Check every file of a bundle against its manifest.

    Hidden files and files that no loader reads (a README, a license) may be added.

    Returns:
        File name → SHA-256.

    Raises:
        BundleError: If the folder is not a bundle, or a file is missing, changed or unexpected. The
            message names all of these files.
    """
    files = _manifest(folder)
    problems = [f"`{name}` is missing" for name in files if not (folder / name).is_file()]
    for name, digest in files.items():
        if (folder / name).is_file() and file_sha256(folder / name) != digest:
            problems.append(f"`{name}` was changed")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(found - files.keys() - {MANIFEST}):
        if Path(name).suffix in _READ_BY_LOADERS and not name.startswith("."):
            problems.append(f"`{name}` is not listed in the manifest")
    if problems:
        raise BundleError(
            f"the bundle `{folder}` is damaged: {'; '.join(problems)}. Copy the bundle again"
        )
    return files


def read_bundle_recipe(folder: Path) -> Recipe:
    """Check every file of a bundle and return its recipe, without loading the model.

    Raises:
        BundleError: If the folder is not a bundle or is damaged, or if its recipe was written by an
            incompatible version.
    """
    check_files(folder)
    try:
        return read_recipe(folder)
    except KinesweepError as error:
        raise BundleError(f"the bundle `{folder}` cannot be loaded: {error}") from None


def _finished(run: Path) -> RunResult:
    """Return the result of a run, or raise `CheckpointError` if it cannot be exported."""
    result = read_result(run)
    if result is None or result.status != "finished":
        state = result.status if result else "not finished yet"
        raise CheckpointError(f"the run `{run}` is {state}; only a finished run can be exported")
    if not (run / "predictions" / "validation.tsv").is_file():
        raise CheckpointError(
            f"the run `{run}` has decoded only part of validation, as trials of a search do; train"
            " its recipe with `kinesweep train` and export that run"
        )
    return result


def _reading(loaded: "ModelFolder", store: Store) -> dict[str, str]:
    """Return the most frequent training prompts and the fingerprint of the feature step."""
    return {**common_prompts(store), STEP: build_features(loaded.recipe.features).fingerprint}


def common_prompts(store: Store) -> dict[str, str]:
    """Return prompt name → most frequent value among the training clips."""
    clips = [record.clip for record in store.records("train")]
    return {n: Counter(getattr(c, n) for c in clips).most_common(1)[0][0] for n in PROMPTS}


def with_own_encoder(recipe: Recipe, folder: Path) -> Recipe:
    """Point a bundle's recipe to the video encoder or embedder inside the bundle."""
    name = _encoder_folder(recipe)
    return recipe if name is None else recipe.with_encoder(folder / name)


def _encoder_folder(recipe: Recipe) -> str | None:
    """Return the subfolder for the network that computes features; None if there is none."""
    if isinstance(recipe.features, VideoFeaturesConfig):
        return VISION
    return None if _embedder(recipe) is None else EMBEDDER


def _embedder(recipe: Recipe) -> str | None:
    """Return the folder of the embedder that aligns references, or None."""
    features = recipe.features
    if not isinstance(features, SkeletonFeaturesConfig) or features.reference is None:
        return None
    return features.reference.embedder


def _copy_encoder(recipe: Recipe, bundle: Path) -> None:
    """Copy the network that computes features; raw files cannot be translated without it."""
    name = _encoder_folder(recipe)
    if name is None:
        return
    (bundle / name).mkdir()
    for path in _encoder_paths(recipe):
        shutil.copyfile(path, bundle / name / path.name)


def _encoder_paths(recipe: Recipe) -> Sequence[Path]:
    """List the files of the video encoder or the embedder."""
    if isinstance(recipe.features, VideoFeaturesConfig):
        from kinesweep.features.encoders import encoder_files

        return encoder_files(recipe.features.encoder)
    from kinesweep.features.frame_embedder_io import DESCRIPTION, WEIGHTS

    folder = Path(_embedder(recipe) or "")
    return [folder / DESCRIPTION, folder / WEIGHTS]


def _generation(loaded: "ModelFolder") -> dict[str, Any]:
    """Return the decoding settings as Hugging Face's `generation_config.json`."""
    words = loaded.text.vocabulary
    ids = {"bos_token_id": words.bos_id, "eos_token_id": words.eos_id, "pad_token_id": words.pad_id}
    return {**loaded.recipe.generation.model_dump(mode="json"), "do_sample": False, **ids}


def _manifest(folder: Path) -> dict[str, str]:
    """Read file name → SHA-256 as written by the export."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"`{folder}` is not a bundle: {MANIFEST} is missing")
    try:
        manifest = read_json(path)
        written, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(
            f"the bundle `{folder}` is damaged: `{MANIFEST}` cannot be read: {error}"
        ) from None
    if written != _FORMAT:
        raise BundleError(
            f"`{folder}` is a bundle of format {written}, but this version reads {_FORMAT}; use the"
            " version of Kinesweep that the model card names"
        )
    return files
