"""Builds the encoder and the objective of a pretraining recipe."""

from pathlib import Path

from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objective_kinds import AnyObjective
from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig, PretrainedModelConfig
from kinesweep.config.pretraining.windows import PretrainingBatchConfig
from kinesweep.core.checkpoint_files import compute_cached_sha256
from kinesweep.core.errors import CheckpointError, ConfigError, InputError
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.features.encoders.signhiera_network import load_signhiera, read_stated_geometry
from kinesweep.features.pixels.transform import check_crop_size
from kinesweep.models.pretraining.initialization import initialize_encoder
from kinesweep.models.pretraining.language_supervision import CaptionInput, LanguageSupervision
from kinesweep.models.pretraining.masked_autoencoder import MaskedAutoencoder
from kinesweep.models.pretraining.masked_decoder import MaskedDecoder, load_decoder
from kinesweep.models.pretraining.objective import PretrainingObjective
from kinesweep.models.vision.vision_scratch import build_geometry


def build_objective(
    config: AnyObjective,
    model_config: PretrainedModelConfig,
    captions: CaptionInput | None = None,
    max_steps: int = 1,
) -> PretrainingObjective:
    """Build the objective of a recipe on the CPU, with its encoder.

    Set the random seed before calling this function, because weights are drawn at random.

    Args:
        config: The recipe's `objective` section.
        model_config: The recipe's `model` section.
        captions: Tokenizer of the texts; only `clip` needs one.
        max_steps: Number of steps of the run; `mae` does not depend on it.

    Raises:
        CheckpointError: If weights to start from cannot be used, or have changed since the run
            started.
        ConfigError: If the sizes of the model, the decoder or the text encoder cannot be used.
        InputError: If the pretrained text encoder cannot be used.
    """
    encoder = _build_encoder(model_config)
    if isinstance(config, ClipConfig):
        assert captions is not None
        joint = LanguageSupervision(encoder, config, model_config, captions, max_steps)
        if joint.decoder is not None and config.mae is not None:
            _start_decoder("objective.mae.init_from", joint.decoder, config.mae)
        return joint
    objective = MaskedAutoencoder(encoder, config, model_config)
    _start_decoder("objective.init_from", objective.decoder, config)
    return objective


def _start_decoder(key: str, decoder: MaskedDecoder, config: MaskedAutoencodingConfig) -> None:
    """Load the weights that a decoder starts from, if any.

    Args:
        key: Key of the recipe that names the file.
        decoder: Decoder that gets the weights.
        config: Section of the objective `mae`.

    Raises:
        CheckpointError: If the file cannot be used, or has changed since the run started.
    """
    if config.init_from is not None:
        path = Path(config.init_from)
        check_weights_file(key, path, config.sha256)
        load_decoder(decoder, path)


def check_model(
    config: AnyObjective,
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
    key, decoder = "objective", config if isinstance(config, MaskedAutoencodingConfig) else None
    if isinstance(config, ClipConfig):
        key, decoder = "objective.mae", config.mae
    if decoder is not None and decoder.init_from is not None:
        check_weights_file(f"{key}.init_from", Path(decoder.init_from), decoder.sha256)


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
                # The problems name keys of an ordinary recipe, in which the model is
                # `model.vision`.
                (path.replace("model.vision", "model"), text)
                for path, text in error.problems
            ]
            raise ConfigError("the model", problems) from None
    else:
        path = Path(model_config.init_from)
        check_weights_file("model.init_from", path, model_config.sha256)
        # Published files state no sizes; they are those of Hiera-Base.
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
    # Enlarged frames would pretend details that were never stored.
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
