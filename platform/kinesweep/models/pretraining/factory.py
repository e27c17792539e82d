"""Builds the encoder and the objective of a pretraining recipe."""

from pathlib import Path

from kinesweep.config.pretraining.objectives import ObjectiveConfig, PretrainedModelConfig
from kinesweep.config.pretraining.windows import PretrainingBatchConfig
from kinesweep.core.checkpoint_files import compute_cached_sha256
from kinesweep.core.errors import CheckpointError, ConfigError, InputError
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.features.encoders.signhiera_network import load_signhiera, read_stated_geometry
from kinesweep.features.pixels.transform import check_crop_size
from kinesweep.models.pretraining.initialization import initialize_encoder
from kinesweep.models.pretraining.masked_autoencoder import MaskedAutoencoder
from kinesweep.models.pretraining.masked_decoder import load_decoder
from kinesweep.models.pretraining.objective import PretrainingObjective
from kinesweep.models.vision.vision_scratch import build_geometry


def build_objective(
    config: ObjectiveConfig, model_config: PretrainedModelConfig
) -> PretrainingObjective:
    """Build the objective of a recipe on the CPU, with its encoder.

    Set the random seed before calling this function, because weights are drawn at random.

    Args:
        config: The recipe's `objective` section.
        model_config: The recipe's `model` section.

    Raises:
        CheckpointError: If weights to start from cannot be used, or have changed since the run
            started.
        ConfigError: If the sizes of the model or the decoder cannot be used.
    """
    objective = MaskedAutoencoder(_build_encoder(model_config), config, model_config)
    if config.init_from is not None:
        path = Path(config.init_from)
        check_weights_file("objective.init_from", path, config.sha256)
        load_decoder(objective.decoder, path)
    return objective


def check_model(
    config: ObjectiveConfig,
    model_config: PretrainedModelConfig,
    batch: PretrainingBatchConfig,
    frame_size: int,
) -> None:
    """Check, without building the model, that windows fit it and that files of weights exist.

    Args:
        config: The recipe's `objective` section.
        model_config: The recipe's `model` section.
        batch: The recipe's `batch` section.
        frame_size: Height and width of the stored frames, `features.size`.

    Raises:
        CheckpointError: If a file of weights is missing, damaged or has changed.
        ConfigError: If the sizes of the model cannot be used.
        InputError: If windows are longer, or frames or random crops smaller, than the model reads.
    """
    geometry = find_geometry(model_config)
    check_window_size(geometry, batch.num_frames, frame_size)
    check_crop_size(batch.augmentation, geometry.size, "batch.augmentation")
    if config.init_from is not None:
        check_weights_file("objective.init_from", Path(config.init_from), config.sha256)


def find_geometry(model_config: PretrainedModelConfig) -> HieraGeometry:
    """Find the size of the model of a recipe without building it.

    Args:
        model_config: The recipe's `model` section.

    Raises:
        CheckpointError: If the file `model.init_from` is missing or damaged.
        ConfigError: If a key of `scratch` is unknown or a value cannot be used.
    """
    if model_config.init_from is None:
        try:
            geometry = build_geometry(model_config.scratch or {})
        except ConfigError as error:
            problems = [
                (path.replace("model.vision", "model"), text) for path, text in error.problems
            ]
            raise ConfigError("the model", problems) from None
    else:
        path = Path(model_config.init_from)
        check_weights_file("model.init_from", path, model_config.sha256)
        geometry = read_stated_geometry(path) or HieraGeometry()
    if geometry.units_per_side < 2:
        text = (
            f"is {geometry.size}, one mask unit of {geometry.unit_pixels} pixels per frame; use at"
            f" least {2 * geometry.unit_pixels}, so that a unit can be visible and another hidden"
        )
        raise ConfigError("the model", [("model.scratch.size", text)])
    return geometry


def check_weights_file(key: str, path: Path, sha256: str | None) -> None:
    """Check that a file of weights exists and has not changed.

    Args:
        key: Key of the recipe that names the file.
        path: The file.
        sha256: Hash of the file when the run was created; None if it was not recorded.

    Raises:
        CheckpointError: If the file is missing or has another hash.
    """
    if not path.is_file():
        raise CheckpointError(
            f"`{key}` is `{path}`, but there is no such file; give a `.pth` or `.safetensors` file,"
            " such as those in the folder `best` of a pretraining run"
        )
    if sha256 is not None and compute_cached_sha256(path) != sha256:
        raise CheckpointError(
            f"`{key}` is `{path}`, whose weights have changed since this run was created. Restore"
            " them, or start a new run in another folder."
        )


def check_window_size(geometry: HieraGeometry, num_frames: int, frame_size: int) -> None:
    """Check that windows fit the model.

    Args:
        geometry: Size of the model.
        num_frames: Frames of a window, `batch.num_frames`.
        frame_size: Height and width of the stored frames, `features.size`.

    Raises:
        InputError: If windows are longer, or frames smaller, than the model reads.
    """
    if num_frames > geometry.max_frames:
        raise InputError(
            f"`batch.num_frames` is {num_frames}, but the model reads at most"
            f" {geometry.max_frames} frames (`model.scratch.max_frames`)"
        )
    if frame_size < geometry.size:
        raise InputError(
            f"`features.size` is {frame_size}, but the model reads frames of {geometry.size}"
            " pixels; store frames of at least that size"
        )


def _build_encoder(config: PretrainedModelConfig) -> SignHiera:
    """Build the encoder with random weights, or those of `model.init_from`."""
    geometry = find_geometry(config)
    if config.init_from is None:
        model = SignHiera(geometry)
        initialize_encoder(model)
        return model
    return load_signhiera(Path(config.init_from), config.from_clip, geometry)
