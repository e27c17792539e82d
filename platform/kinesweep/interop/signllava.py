"""Import of the projectors of Sign_LLaVA's first stage, as a model folder for the second stage.

DeepSpeed saves them to `mp_rank_00_model_states.pt`, a dictionary whose `module` contains the
trained tensors: a projector per stream, which is one linear layer or two with a GELU in between. A
tensor belongs to the stream whose name its own name contains (`…mm_projector.dino.0.weight`,
`…pose_projector.bias`); the number before `weight` gives the order of the layers. The language
model is the one of the recipe, which is only read. Superfluous and missing tensors are errors that
name the tensor. The file is read without running pickled code.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.data.external_tokenizer import load_external_tokenizer
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.features import build_features
from kinesweep.interop.weight_import import (
    copy_tensors_into_model,
    read_checkpoint_tensors,
    write_imported_model,
)
from kinesweep.models import Translator, build_translator
from kinesweep.models.checkpoint_io import get_non_base_state_dict

_LAYER_PATTERN = re.compile(r"(?:(?P<index>\d+)\.)?(?P<parameter>weight|bias)$")


def import_sign_llava_projectors(
    path: Path, recipe: Recipe, output_dir: Path, tokenizer_name: str | None = None
) -> Translator:
    """Import Sign_LLaVA's projectors and write a model folder for `model.init_from`.

    Args:
        path: DeepSpeed's `mp_rank_00_model_states.pt`: a dictionary with `module`, or the tensors
            alone.
        recipe: Recipe of the first stage; it is written to the model folder as a whole.
        output_dir: Folder to create.
        tokenizer_name: Folder or hub id of the tokenizer; None: the tokenizer of
            `model.backbone.pretrained`.

    Returns:
        The model with the imported projectors.

    Raises:
        CheckpointError: If the file cannot be read, or tensors are missing, superfluous or of the
            wrong shape.
        InputError: If the language model or its tokenizer cannot be read, or if the recipe trains
            the language model.
    """
    model_config = recipe.effective_model
    if not model_config.has_frozen_base:
        raise InputError(
            "projectors can only be imported for a frozen language model: set `training.stage:"
            " projectors` and `model.backbone.pretrained` in the recipe"
        )
    tensors = read_checkpoint_tensors(path, "module")
    stream_names = build_features(recipe.single_features).streams
    layers = {name: _find_layer_prefixes(tensors, name) for name in stream_names}
    _check_tensor_streams(tensors, layers, path)
    # `has_frozen_base` guarantees a pretrained backbone; the empty text only satisfies the type
    # checker.
    tokenizer_name = tokenizer_name or model_config.backbone.pretrained or ""
    tokenizer = TextTokenizer(
        load_external_tokenizer(tokenizer_name, model_config.tokenizer.new_tokens, []),
        model_config.tokenizer.lowercase,
    )
    # Everything that the file does not contain must be the same for every import.
    seed_everything(recipe.training.seed)
    widths = {name: _get_input_width(tensors, layers[name], name, path) for name in stream_names}
    label_smoothing = recipe.training.label_smoothing_factor
    model = build_translator(model_config, widths, tokenizer.vocabulary, label_smoothing)
    renamed_tensors = {
        f"encoders.{name}.{target_name}": tensors[source_name]
        for name in stream_names
        for target_name, source_name in _map_layer_names(layers[name])
    }
    # Without the frozen language model, whose weights come from its own folder.
    copy_tensors_into_model(model, renamed_tensors, path, get_non_base_state_dict(model))
    write_imported_model(output_dir, model.eval(), tokenizer, recipe)
    return model


def _find_layer_prefixes(tensors: Mapping[str, Tensor], stream: str) -> list[str]:
    """Find the layers of the projector of a feature stream by the names of their tensors.

    Args:
        tensors: Source name → tensor.
        stream: Name of the feature stream.

    Returns:
        Name of each layer without `weight` and `bias` at its end, from the first layer to the last;
        empty if no tensor belongs to the stream.
    """
    # The stream must be a whole word of the name: `pose` matches `pose_projector`, not `poses`.
    stream_pattern = re.compile(rf"(?:.*[._])?{re.escape(stream)}(?:[._].*)?$")
    index_by_prefix: dict[str, int] = {}
    for name in tensors:
        layer = _LAYER_PATTERN.search(name)
        if layer is not None and stream_pattern.match(name[: layer.start()].rstrip(".")):
            # Layers with an index are ordered by it; a single linear layer has none.
            index_by_prefix[name[: layer.start("parameter")]] = int(layer["index"] or 0)
    return sorted(index_by_prefix, key=lambda prefix: index_by_prefix[prefix])


def _map_layer_names(layers: Sequence[str]) -> list[tuple[str, str]]:
    """Map the tensors of a projector to those of the encoder that replaces it.

    All layers but the last one are hidden layers of an MLP encoder; a single layer is a linear
    encoder.

    Args:
        layers: Name prefixes of the projector's layers, from the first layer to the last.

    Returns:
        Pairs of the name in the encoder and the source name, for each weight and bias.
    """
    # A hidden layer occupies three modules of the MLP encoder: linear, activation, dropout.
    target_prefixes = [f"hidden.{3 * index}." for index in range(len(layers) - 1)] + ["linear."]
    return [
        (f"{target_prefix}{suffix}", f"{source_prefix}{suffix}")
        for target_prefix, source_prefix in zip(target_prefixes, layers, strict=False)
        for suffix in ("weight", "bias")
    ]


def _check_tensor_streams(
    tensors: Mapping[str, Tensor], layers: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Check that every tensor belongs to the projector of exactly one feature stream.

    Args:
        tensors: Source name → tensor.
        layers: Name of each feature stream → name prefixes of the layers of its projector.
        path: File of the tensors, for the error message.

    Raises:
        CheckpointError: If a tensor belongs to no stream or to several.
    """
    assigned_prefixes = [layer for prefixes in layers.values() for layer in prefixes]
    for name in tensors:
        num_streams = assigned_prefixes.count(name[: name.rfind(".") + 1])
        if num_streams != 1:
            owner = "several streams" if num_streams else "no stream"
            raise CheckpointError(
                f"`{path}` contains `{name}`, which by its name belongs to {owner} of the recipe"
                f" ({', '.join(layers)})"
            )


def _get_input_width(
    tensors: Mapping[str, Tensor], layers: Sequence[str], stream: str, path: Path
) -> int:
    """Return the input width of the projector of a feature stream, in values per frame.

    Args:
        tensors: Source name → tensor.
        layers: Name prefixes of the projector's layers, from the first layer to the last.
        stream: Name of the feature stream.
        path: File of the tensors, for the error message.

    Raises:
        CheckpointError: If the file has no projector for the stream.
    """
    weight = tensors.get(f"{layers[0]}weight") if layers else None
    if weight is None or weight.dim() != 2:
        raise CheckpointError(f"`{path}` has no projector for the stream `{stream}`")
    return int(weight.shape[1])
