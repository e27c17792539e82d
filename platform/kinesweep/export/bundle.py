"""Bundles: the model folder of a run with a model card, predictions and a manifest of hashes.

A finished run goes in. The result is a folder that Hugging Face can load, that documents how it was
made and that can translate raw files years later. It is built in a temporary folder, with the
manifest written last, and then renamed. A bundle with a changed or missing file, or an additional
file that a loader would read, is rejected with the name of the file.
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.checkpoints.model_dir_files import FEATURES_FILENAME, read_recipe, write_recipe
from kinesweep.config.parts import list_used_parts
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.export import CardConfig, ExportConfig
from kinesweep.config.recipe.features.combined import CombinedFeaturesConfig, RecipeFeaturesConfig
from kinesweep.core.errors import BundleError, CheckpointError, KinesweepError
from kinesweep.core.io import write_folder, write_json
from kinesweep.export.bundle_manifest import (
    check_bundle_files,
    check_output_dir,
    write_bundle_manifest,
)
from kinesweep.export.bundled_encoder import copy_encoder_files
from kinesweep.export.hub.card_metadata import find_base_model
from kinesweep.export.mlflow_flavor import make_example_frames, write_mlflow_flavor
from kinesweep.export.model_card import write_model_card
from kinesweep.export.part_inputs import RawParts, list_raw_parts
from kinesweep.export.raw_inputs import get_all_file_columns, get_feature_columns
from kinesweep.features import build_features
from kinesweep.store import Store
from kinesweep.training.run_records.result import RunResult, read_run_result

if TYPE_CHECKING:
    from kinesweep.checkpoints.model_dir import LoadedModel

PREDICTIONS = "predictions.tsv"
GENERATION_CONFIG = "generation_config.json"
PROMPT_FIELDS = ("encoder_prompt", "decoder_prompt")
FEATURE_STEP_KEY = "feature_step"


def export_bundle(
    run_dir: Path,
    bundle_dir: Path,
    store: Store,
    overwrite: bool = False,
    title: str = "",
    test_scores: Mapping[str, float] | None = None,
    *,
    extra_facts: Mapping[str, str] | None = None,
    card: CardConfig | None = None,
) -> Path:
    """Export a finished run as a bundle and return the folder of the bundle.

    Args:
        run_dir: Run folder.
        bundle_dir: Folder of the bundle; missing parent folders are created.
        store: Feature store that the run was trained on.
        overwrite: Whether to replace an existing bundle; anything else is never replaced.
        title: Heading of the model card; the name of the recipe by default.
        test_scores: Metric → score on the test split; those of the run's result by default.
        extra_facts: Name → value of additional table rows of the model card, for example the
            interval over seeds.
        card: Statements of the model card; None: those of the recipe's `export.card`.

    Raises:
        CheckpointError: If the run is not finished, did not decode the whole validation split, or
            its model folder is incomplete.
        ConfigError: If the recipe in the model folder is not valid.
        BundleError: If `bundle_dir` exists and must not be replaced, the store has other features
            than the run was trained on, or the model was trained in the stage `align`.
    """
    result = _read_finished_result(run_dir)
    if read_recipe(run_dir / "best").training.stage == "align":
        raise BundleError(
            f"`{run_dir}` was trained in `training.stage: align` and does not translate; train a"
            " translation that starts from its folder `best` (`model.init_from`) and export that"
        )
    check_output_dir(bundle_dir, overwrite)
    # Imports PyTorch, which takes seconds; the cheap checks above come first.
    from kinesweep.checkpoints.model_dir import read_model_folder

    loaded = read_model_folder(run_dir / "best")
    _check_store(store, run_dir, loaded.features["store_fingerprint"])
    parts = list_used_parts(loaded.recipe)
    facts = {f"part `{part.kind}`": f"{part.package} {part.version}" for part in parts}
    if card is not None:
        recipe = loaded.recipe.model_copy(update={"export": ExportConfig(card=card)})
        loaded = replace(loaded, recipe=recipe)

    # Order matters: the card reads the recipe, and the manifest hashes everything before it.
    def write_bundle_files(temp_dir: Path) -> None:
        """Write all files of the bundle to a temporary folder, which is renamed afterwards."""
        _write_model_files(temp_dir, run_dir, loaded, store)
        write_model_card(
            *(temp_dir, result, store, title, test_scores, {**facts, **(extra_facts or {})}),
            base_model=find_base_model(loaded.recipe.model.backbone.pretrained),
        )
        columns = get_feature_columns(loaded.features["streams"])
        write_mlflow_flavor(
            temp_dir,
            result.weights_sha256,
            list_raw_parts(loaded.recipe)
            or get_all_file_columns(loaded.recipe.corpora[0], loaded.recipe.single_features),
            columns.values(),
            make_example_frames(columns, loaded.features["streams"]),
            dict.fromkeys(part.requirement for part in parts),
        )
        write_bundle_manifest(temp_dir, [part.to_json() for part in parts])

    bundle_dir.parent.mkdir(parents=True, exist_ok=True)
    write_folder(bundle_dir, write_bundle_files)
    return bundle_dir


def _check_store(store: Store, run_dir: Path, expected_fingerprint: str) -> None:
    """Check that a feature store is the one that a run was trained on.

    Args:
        store: Feature store to check.
        run_dir: Run folder, for the message.
        expected_fingerprint: Fingerprint of the store that the run was trained on.

    Raises:
        BundleError: If the store has another fingerprint.
    """
    if store.fingerprint != expected_fingerprint:
        raise BundleError(
            f"`{run_dir}` was trained on the features {expected_fingerprint[:12]}…, but the store"
            f" `{store.folder}` has {store.fingerprint[:12]}…; give the store of the run"
        )


def _write_model_files(
    bundle_dir: Path, run_dir: Path, loaded: "LoadedModel", store: Store
) -> None:
    """Write the files of a bundle that translation needs, and the run's validation predictions.

    Args:
        bundle_dir: Folder of the bundle.
        run_dir: Run folder.
        loaded: Model of the run, loaded from its folder `best`.
        store: Feature store that the run was trained on.
    """
    for path in sorted((run_dir / "best").iterdir()):
        shutil.copyfile(path, bundle_dir / path.name)
    shutil.copyfile(run_dir / "predictions" / "validation.tsv", bundle_dir / PREDICTIONS)
    # Overwrite the copies of `best`: without local paths, and with prompts and fingerprint.
    write_recipe(bundle_dir, loaded.recipe.to_portable())
    write_json(
        bundle_dir / FEATURES_FILENAME, {**loaded.features, **_build_export_metadata(loaded, store)}
    )
    write_json(bundle_dir / GENERATION_CONFIG, _build_generation_config(loaded))
    copy_encoder_files(loaded.recipe.features, list_raw_parts(loaded.recipe), bundle_dir)


def read_bundle_recipe(bundle_dir: Path, skip_file_check: bool = False) -> Recipe:
    """Check every file of a bundle and read its recipe, without loading the model.

    Args:
        bundle_dir: Folder of the bundle.
        skip_file_check: Whether to skip `check_bundle_files`, because the caller has called it.

    Raises:
        BundleError: If the folder is not a bundle or is damaged, or if its recipe was written by an
            incompatible version.
    """
    if not skip_file_check:
        check_bundle_files(bundle_dir)
    try:
        return read_recipe(bundle_dir)
    except KinesweepError as error:
        raise BundleError(f"the bundle `{bundle_dir}` cannot be loaded: {error}") from None


def _read_finished_result(run_dir: Path) -> RunResult:
    """Read the result of a finished run, after checking that the run can be exported.

    Raises:
        CheckpointError: If the run is not finished or did not decode the whole validation split.
    """
    result = read_run_result(run_dir)
    if result is None or result.status != "finished":
        state = result.status if result else "not finished yet"
        raise CheckpointError(
            f"the run `{run_dir}` is {state}; only a finished run can be exported"
        )
    if not (run_dir / "predictions" / "validation.tsv").is_file():
        raise CheckpointError(
            f"the run `{run_dir}` has decoded only part of validation, as trials of a search do;"
            " train its recipe with `kinesweep train` and export that run"
        )
    return result


def _build_export_metadata(loaded: "LoadedModel", store: Store) -> dict[str, Any]:
    """Build the entries that an export adds to `features.json`.

    Args:
        loaded: Model of the run.
        store: Feature store that the run was trained on.

    Returns:
        The most frequent training prompts by `PROMPT_FIELDS`, and the fingerprint of the feature
        step by `FEATURE_STEP_KEY`.
    """
    return {
        **find_common_prompts(store),
        FEATURE_STEP_KEY: compute_step_fingerprints(
            loaded.recipe.features, list_raw_parts(loaded.recipe)
        ),
    }


def compute_step_fingerprints(
    features: RecipeFeaturesConfig, parts: RawParts
) -> str | dict[str, str]:
    """Compute the fingerprint of a model's feature step, or of that of each part.

    Args:
        features: The `features` section.
        parts: Selected parts of the section by stream; empty if it has no parts.

    Returns:
        SHA-256 of the feature step in hexadecimal; with parts, stream → SHA-256.
    """
    if not isinstance(features, CombinedFeaturesConfig):
        return build_features(features).fingerprint
    return {name: build_features(part.features).fingerprint for name, part in parts.items()}


def find_common_prompts(store: Store) -> dict[str, str]:
    """Find the most frequent value of each prompt among the training clips.

    Returns:
        Name of the prompt, from `PROMPT_FIELDS` → value. The first of several equally frequent
        values in the order of the store is chosen.

    Raises:
        StoreError: If the store has no split `train`.
    """
    clips = [record.clip for record in store.get_records("train")]
    return {
        field: Counter(getattr(clip, field) for clip in clips).most_common(1)[0][0]
        for field in PROMPT_FIELDS
    }


def _build_generation_config(loaded: "LoadedModel") -> dict[str, Any]:
    """Build the content of Hugging Face's `generation_config.json` from the recipe's generation.

    Token IDs come from the tokenizer. Sampling is off unless the recipe turns it on.
    """
    vocabulary = loaded.tokenizer.vocabulary
    token_ids = {
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": vocabulary.pad_id,
    }
    generation = loaded.recipe.generation
    values = generation.get_set_values()
    # Memory and speed are up to whoever loads the bundle; Hugging Face has no such key.
    values.pop("cache", None)
    return {**values, "do_sample": generation.do_sample, **token_ids}
