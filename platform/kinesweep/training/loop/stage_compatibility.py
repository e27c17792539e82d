"""Compatibility of a model with the weights of an earlier training stage.

Architecture, names and shapes of the weights, and settings are compared. Each difference is
described by a text that continues the sentence "`model.init_from` is `FOLDER`, but …", in which
"it" is the earlier stage. Only adapters and the feature stream of reference motions may be new.
"""

from typing import Any

from torch import Tensor

from kinesweep.models.base_model import compute_base_model_sha256
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import is_adapter_weight
from kinesweep.training.loop.vision_compatibility import compare_vision_models

# Settings of encoders and fusion that a later stage may change.
_CHANGEABLE_SETTINGS = ("dropout", "stream_dropout")


def find_incompatibilities(
    model_config: KinesweepConfig,
    initial_config: KinesweepConfig,
    model_tensors: dict[str, Tensor],
    initial_tensors: dict[str, Tensor],
) -> list[str]:
    """Find the reasons why the weights of an earlier stage cannot initialize a model.

    The kinds of differences are checked one after another, because the first kind explains the
    later ones: architecture, names and shapes of weights, missing weights, settings.

    Args:
        model_config: Config of the model.
        initial_config: Config of the earlier stage.
        model_tensors: Name → weight of the model, without the names of adapter wrappers.
        initial_tensors: Name → weight of the earlier stage, named in the same way.

    Returns:
        Descriptions of all differences of the first kind that has any; empty if the weights fit.
    """
    return (
        _compare_architectures(model_config, initial_config)
        or _describe_mismatched_weights(model_tensors, initial_tensors)
        # Looks up every name of `initial_tensors` in the model, so it follows the check above.
        or _describe_missing_weights(model_tensors, initial_tensors)
        or _compare_settings(model_config, initial_config)
    )


def _compare_architectures(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the feature streams, kinds of encoders, skeletons, reference motions, base models.

    Args:
        model_config: Config of the model.
        initial_config: Config of the earlier stage.

    Returns:
        Descriptions of the differences; empty if there are none.
    """
    model_widths = model_config.get_encoder_widths()
    initial_widths = initial_config.get_encoder_widths()
    differences = []
    # The order counts too: channel fusion concatenates the streams in this order.
    if list(model_widths.items()) != list(initial_widths.items()):
        differences.append(
            f"it reads {_format_stream_widths(initial_config.get_stream_widths())}, and this model"
            f" reads {_format_stream_widths(model_config.get_stream_widths())}"
        )
    # In the order of the streams: that of a set would differ between processes.
    for name in (name for name in model_widths if name in initial_widths):
        model_encoder = model_config.get_model_config().get_encoder_config(name)
        initial_encoder = initial_config.get_model_config().get_encoder_config(name)
        initial_skeleton = initial_config.get_skeleton(name)
        if model_encoder.kind != initial_encoder.kind:
            differences.append(
                f"its encoder of `{name}` is `{initial_encoder.kind}`, not `{model_encoder.kind}`"
            )
        elif initial_skeleton is not None and initial_skeleton != model_config.get_skeleton(name):
            differences.append(
                f"its `{name}` has the skeleton `{initial_skeleton.name}`, or bones that differ"
                " from this model's"
            )
    return [
        *differences,
        *_compare_reference_modes(model_config, initial_config),
        *compare_vision_models(model_config, initial_config),
        *_compare_base_models(model_config, initial_config),
    ]


def _compare_reference_modes(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the settings of the two models for reference motions (`model.reference`).

    The earlier store may have had no reference motions (`KinesweepConfig.encoded`). The mode
    `subtract` has no weights and no effect without them, so it is the only mode that may be new.

    Args:
        model_config: Config of the model.
        initial_config: Config of the earlier stage.

    Returns:
        List with a description of the difference; empty if there is none.
    """
    model_reference = model_config.get_model_config().reference
    initial_reference = initial_config.get_model_config().reference
    is_new_subtraction = (
        initial_reference is None
        and model_reference is not None
        and model_reference.mode == "subtract"
    )
    if model_reference == initial_reference or is_new_subtraction:
        return []
    descriptions = [
        "none" if reference is None else str(reference.model_dump())
        for reference in (initial_reference, model_reference)
    ]
    return [f"its `model.reference` is {descriptions[0]}, not {descriptions[1]}"]


def _compare_base_models(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the pretrained language models on which the two models are based, by their hashes.

    If this model trains its language model, the hash is computed from the files of the pretrained
    one.

    Args:
        model_config: Config of the model.
        initial_config: Config of the earlier stage.

    Returns:
        List with a description of the difference; empty if there is none, or if one of the models
        has no pretrained language model.
    """
    backbone = model_config.get_model_config().backbone
    if initial_config.base is None or backbone.pretrained is None:
        return []
    # A model that trains its language model has no `base`; hash the pretrained one that it starts
    # from.
    model_digest = (model_config.base or {}).get("sha256") or compute_base_model_sha256(
        backbone.pretrained, backbone.revision
    )
    if model_digest == initial_config.base["sha256"]:
        return []
    initial_base = f"`{initial_config.base['name']}` with content {initial_config.base['sha256']}"
    return [
        f"its language model is {initial_base}, not `{backbone.pretrained}` with content"
        f" {model_digest}"
    ]


def _describe_mismatched_weights(
    model_tensors: dict[str, Tensor], initial_tensors: dict[str, Tensor]
) -> list[str]:
    """Describe the earlier weights that do not exist in the model or have another shape in it.

    Args:
        model_tensors: Name → weight of the model.
        initial_tensors: Name → weight of the earlier stage.

    Returns:
        A description of each such weight; empty if there is none.
    """
    differences = []
    for name, tensor in initial_tensors.items():
        if name not in model_tensors:
            differences.append(f"its `{name}` does not exist in this model")
        elif model_tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(model_tensors[name].shape)}"
            differences.append(f"its `{name}` has the shape {shapes}")
    return differences


def _describe_missing_weights(
    model_tensors: dict[str, Tensor], initial_tensors: dict[str, Tensor]
) -> list[str]:
    """Describe the weights of the model that the checkpoint of the earlier stage lacks.

    Adapters may be missing, and so may a frozen language model: it was not saved with the earlier
    stage and has been loaded from its own folder.

    Args:
        model_tensors: Name → weight of the model.
        initial_tensors: Name → weight of the earlier stage; the model must have all these names.

    Returns:
        A description of each missing weight; empty if there is none.
    """
    # One tensor of the language model means that the earlier stage saved all of it.
    has_language_model = any(_is_language_model_weight(name) for name in initial_tensors)
    # Tied weights are one tensor under several names, saved under only one of them. The storage
    # shows that they are the same.
    initial_pointers = {model_tensors[name].data_ptr() for name in initial_tensors}
    return [
        f"it has no `{name}`"
        for name, tensor in model_tensors.items()
        if name not in initial_tensors
        and not is_adapter_weight(name)
        and (has_language_model or not _is_language_model_weight(name))
        and tensor.data_ptr() not in initial_pointers
    ]


def _is_language_model_weight(name: str) -> bool:
    """Return whether the weight `name` belongs to the language model itself, not to an adapter."""
    return name.startswith("backbone.") and not is_adapter_weight(name)


def _compare_settings(model_config: KinesweepConfig, initial_config: KinesweepConfig) -> list[str]:
    """Compare the settings that change the meaning of weights with equal names and shapes.

    These are the settings of the encoders and of the fusion. Dropout is ignored, because it affects
    training only.

    Args:
        model_config: Config of the model.
        initial_config: Config of the earlier stage, with the same feature streams.

    Returns:
        A description of each setting that differs; empty if there is none.
    """
    model_section = model_config.get_model_config()
    initial_section = initial_config.get_model_config()
    module_configs: list[tuple[str, Any, Any]] = [
        (
            f"encoder of `{name}`",
            model_section.get_encoder_config(name),
            initial_section.get_encoder_config(name),
        )
        for name in model_config.get_encoder_widths()
    ]
    module_configs.append(("fusion", model_section.fusion, initial_section.fusion))
    module_settings = [
        (module_name, module_config.model_dump(), initial_module_config.model_dump())
        for module_name, module_config, initial_module_config in module_configs
    ]
    return [
        f"its {module_name} has `{key}` {initial_settings[key]}, not {model_settings[key]}"
        for module_name, model_settings, initial_settings in module_settings
        for key in model_settings
        if key not in _CHANGEABLE_SETTINGS
        and not _is_new_adapter(key, initial_settings[key])
        and model_settings[key] != initial_settings[key]
    ]


def _is_new_adapter(key: str, initial_value: Any) -> bool:
    """Return whether a setting may add LoRA adapters that the earlier stage did not have.

    Args:
        key: Name of the setting.
        initial_value: Value of the setting in the earlier stage; None if it had no adapters.
    """
    return key == "lora" and initial_value is None


def _format_stream_widths(widths: dict[str, int]) -> str:
    """Format the names of feature streams with their widths, as in "`pose` (178), `dino` (384)"."""
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items())
