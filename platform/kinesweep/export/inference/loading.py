"""Loading of the model of a bundle, after a check that its features can still be computed."""

from dataclasses import replace
from pathlib import Path

import torch

from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.config.recipe.sources.estimators import JointEstimatorConfig
from kinesweep.core.errors import BundleError, KinesweepError
from kinesweep.export.bundle import FEATURE_STEP_KEY, PROMPT_FIELDS, compute_step_fingerprints
from kinesweep.export.bundled_encoder import use_bundled_encoder
from kinesweep.export.estimated_motions import choose_estimator
from kinesweep.export.part_inputs import list_raw_parts


def load_bundled_model(
    bundle_dir: Path,
    device: torch.device | str | None,
    estimator: JointEstimatorConfig | None = None,
) -> LoadedModel:
    """Load the model of a bundle and check that this version computes its features in the same way.

    Args:
        bundle_dir: Folder of the bundle, whose files have been checked.
        device: Device of the model; None selects the default of `Translator.from_pretrained`.
        estimator: Estimator of joints that may run, for a model of estimated motions.

    Raises:
        BundleError: If the folder is not a bundle or is damaged, or if this version computes
            its features differently.
    """
    try:
        loaded = read_model_folder(bundle_dir, device)
    except KinesweepError as error:
        raise BundleError(f"the bundle `{bundle_dir}` cannot be loaded: {error}") from None
    return complete_bundled_model(bundle_dir, loaded, estimator)


def complete_bundled_model(
    bundle_dir: Path, loaded: LoadedModel, estimator: JointEstimatorConfig | None = None
) -> LoadedModel:
    """Check the features of a bundle, and return its model with the networks that compute them.

    Args:
        bundle_dir: Folder of the bundle.
        loaded: Content of the folder; its model is not used.
        estimator: Estimator of joints that may run, for a model of estimated motions.

    Raises:
        BundleError: If this version computes the features differently, or they are not described.
    """
    required_keys = (FEATURE_STEP_KEY, "store_dtype", "streams", *PROMPT_FIELDS)
    if missing_keys := [key for key in required_keys if key not in loaded.features]:
        raise BundleError(
            f"`features.json` of the bundle `{bundle_dir}` lacks {', '.join(missing_keys)};"
            " export the run again"
        )
    # Before the fingerprints, which are computed from the files of the encoder.
    loaded = replace(loaded, recipe=use_bundled_encoder(loaded.recipe, bundle_dir))
    # The fingerprint covers the code version and the weights of encoders, so raw files can
    # never silently get features that the model was not trained on.
    fingerprints = compute_step_fingerprints(loaded.recipe.features, list_raw_parts(loaded.recipe))
    if fingerprints != loaded.features[FEATURE_STEP_KEY]:
        raise BundleError(
            f"the bundle `{bundle_dir}` was trained on features that this version of Kinesweep"
            " computes differently; use the version that the model card names"
        )
    # Last: the fingerprints above are those of the recipe as it was trained.
    source = choose_estimator(loaded.recipe.source, estimator)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"source": source}))
