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
from kinesweep.core.hashing import compute_file_sha256, compute_folder_sha256
from kinesweep.core.io import read_json, write_folder, write_json
from kinesweep.export.mlflow_flavor import write_mlflow_flavor
from kinesweep.export.model_card import write_model_card
from kinesweep.export.raw_inputs import get_all_file_columns, get_feature_columns
from kinesweep.features import build_features
from kinesweep.store import Store
from kinesweep.training.run_records.result import RunResult, read_run_result

if TYPE_CHECKING:
    from kinesweep.checkpoints.model_dir import LoadedModel

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.tsv"
GENERATION_CONFIG = "generation_config.json"
PROMPT_FIELDS = ("encoder_prompt", "decoder_prompt")
FEATURE_STEP_KEY = "feature_step"
VISION_FOLDER = "vision"
EMBEDDER_FOLDER = "embedder"
_FORMAT = 1
# Suffixes of files that Hugging Face, MLflow or Kinesweep would read. An unknown file with one of
# them could change what is loaded.
_LOADABLE_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".model", ".txt", ".yaml", ".py"})


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
    result = _read_finished_result(run)
    _check_output_dir(out, overwrite)
    # Imports PyTorch, which takes seconds; the cheap checks above come first.
    from kinesweep.checkpoints.model_dir import read_model_folder

    loaded = read_model_folder(run / "best")
    expected_fingerprint = loaded.features["store_fingerprint"]
    if store.fingerprint != expected_fingerprint:
        raise BundleError(
            f"`{run}` was trained on the features {expected_fingerprint[:12]}…, but the store"
            f" `{store.folder}`"
            f" has {store.fingerprint[:12]}…; give the store of the run"
        )

    # Order matters: the card reads the recipe, and the manifest hashes everything before it.
    def write_bundle_files(bundle_dir: Path) -> None:
        for path in sorted((run / "best").iterdir()):
            shutil.copyfile(path, bundle_dir / path.name)
        shutil.copyfile(run / "predictions" / "validation.tsv", bundle_dir / PREDICTIONS)
        # Overwrite the copies of `best`: without local paths, and with prompts and fingerprint.
        write_recipe(bundle_dir, loaded.recipe.to_portable())
        write_json(
            bundle_dir / FEATURES, {**loaded.features, **_get_feature_metadata(loaded, store)}
        )
        write_json(bundle_dir / GENERATION_CONFIG, _build_generation_config(loaded))
        write_model_card(bundle_dir, result, store, title, test, facts)
        columns = get_feature_columns(loaded.features["streams"]).values()
        write_mlflow_flavor(
            bundle_dir, result.weights_sha256, get_all_file_columns(loaded.recipe), columns
        )
        _copy_encoder_files(loaded.recipe, bundle_dir)
        write_json(
            bundle_dir / MANIFEST, {"format": _FORMAT, "files": compute_folder_sha256(bundle_dir)}
        )

    out.parent.mkdir(parents=True, exist_ok=True)
    write_folder(out, write_bundle_files)
    return out


def _check_output_dir(out: Path, overwrite: bool) -> None:
    """Check that `out` does not exist, or is a bundle that may be overwritten."""
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
    files = _read_bundle_manifest(folder)
    problems = [f"`{name}` is missing" for name in files if not (folder / name).is_file()]
    for name, digest in files.items():
        if (folder / name).is_file() and compute_file_sha256(folder / name) != digest:
            problems.append(f"`{name}` was changed")
    existing_names = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    for name in sorted(existing_names - files.keys() - {MANIFEST}):
        if Path(name).suffix in _LOADABLE_SUFFIXES and not name.startswith("."):
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


def _read_finished_result(run: Path) -> RunResult:
    """Read the result of a finished run; raise `CheckpointError` if it cannot be exported."""
    result = read_run_result(run)
    if result is None or result.status != "finished":
        state = result.status if result else "not finished yet"
        raise CheckpointError(f"the run `{run}` is {state}; only a finished run can be exported")
    if not (run / "predictions" / "validation.tsv").is_file():
        raise CheckpointError(
            f"the run `{run}` has decoded only part of validation, as trials of a search do; train"
            " its recipe with `kinesweep train` and export that run"
        )
    return result


def _get_feature_metadata(loaded: "LoadedModel", store: Store) -> dict[str, str]:
    """Return the most frequent training prompts and the fingerprint of the feature step."""
    return {
        **find_common_prompts(store),
        FEATURE_STEP_KEY: build_features(loaded.recipe.features).fingerprint,
    }


def find_common_prompts(store: Store) -> dict[str, str]:
    """Find the most frequent prompts of the training clips; return prompt name → value."""
    clips = [record.clip for record in store.get_records("train")]
    return {n: Counter(getattr(c, n) for c in clips).most_common(1)[0][0] for n in PROMPT_FIELDS}


def use_bundled_encoder(recipe: Recipe, folder: Path) -> Recipe:
    """Return a bundle's recipe, changed to use the video encoder or embedder in the bundle."""
    name = _get_encoder_folder_name(recipe)
    return recipe if name is None else recipe.with_encoder_dir(folder / name)


def _get_encoder_folder_name(recipe: Recipe) -> str | None:
    """Return the subfolder of the network that computes features; None if there is none."""
    if isinstance(recipe.features, VideoFeaturesConfig):
        return VISION_FOLDER
    return None if _get_embedder_dir(recipe) is None else EMBEDDER_FOLDER


def _get_embedder_dir(recipe: Recipe) -> str | None:
    """Return the folder of the embedder that aligns references, or None."""
    features = recipe.features
    if not isinstance(features, SkeletonFeaturesConfig) or features.reference is None:
        return None
    return features.reference.embedder


def _copy_encoder_files(recipe: Recipe, bundle: Path) -> None:
    """Copy the files of the network that computes features, which raw files need."""
    name = _get_encoder_folder_name(recipe)
    if name is None:
        return
    (bundle / name).mkdir()
    for path in _list_encoder_files(recipe):
        shutil.copyfile(path, bundle / name / path.name)


def _list_encoder_files(recipe: Recipe) -> Sequence[Path]:
    """List the files of the video encoder or the embedder."""
    if isinstance(recipe.features, VideoFeaturesConfig):
        from kinesweep.features.encoders import list_encoder_files

        return list_encoder_files(recipe.features.encoder)
    from kinesweep.features.frame_embedder_io import DESCRIPTION_FILE, WEIGHTS_FILE

    folder = Path(_get_embedder_dir(recipe) or "")
    return [folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE]


def _build_generation_config(loaded: "LoadedModel") -> dict[str, Any]:
    """Build the content of Hugging Face's `generation_config.json` from the decoding settings."""
    vocabulary = loaded.text.vocabulary
    ids = {
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": vocabulary.pad_id,
    }
    return {**loaded.recipe.generation.model_dump(mode="json"), "do_sample": False, **ids}


def _read_bundle_manifest(folder: Path) -> dict[str, str]:
    """Read the manifest of a bundle; return file name → SHA-256."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"`{folder}` is not a bundle: {MANIFEST} is missing")
    try:
        manifest = read_json(path)
        format_version, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(
            f"the bundle `{folder}` is damaged: `{MANIFEST}` cannot be read: {error}"
        ) from None
    if format_version != _FORMAT:
        raise BundleError(
            f"`{folder}` is a bundle of format {format_version}, but this version reads {_FORMAT};"
            " use the"
            " version of Kinesweep that the model card names"
        )
    return files
