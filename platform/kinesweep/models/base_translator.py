"""The base class of the translator: position limits, and strict saving and loading of weights.

A saved translator is a Hugging Face model folder. If its language model is a frozen base model, the
folder contains all other weights, and the base model is loaded from its own folder.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kinesweep.config.recipe.model import ModelPart
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.models.backbones.padding_masks import TextLengths
from kinesweep.models.checkpoint_io import (
    get_non_base_state_dict,
    load_config_or_none,
    load_model_strict,
)
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.models.frozen_base_loading import load_with_base_model
from kinesweep.models.frozen_parameters import freeze_parameters
from kinesweep.models.fusion import MaskedVectors
from kinesweep.models.input_embedding import InputVectors
from kinesweep.models.length_budget import PositionLimit
from kinesweep.models.motion_difference import MotionDifference
from kinesweep.models.objectives.attachment import detach_objective
from kinesweep.models.objectives.base_objective import TrainingObjective
from kinesweep.models.training_loss import ComputeLogits
from kinesweep.models.vision.tower import VisionTower


class BaseTranslator(PreTrainedModel):
    """A Hugging Face model that is saved and loaded strictly, with or without a base model.

    Attributes:
        backbone: Language model, which limits the number of positions.
        encoders: Stream → its encoder.
        fusion: Module that combines the encoded streams.
        reference: Module that compares a stream with reference motions; None without one.
        vision: Vision model that reads streams of decoded frames; None without one.
        objective: Training objective that `forward` computes instead of the translation loss; None
            outside of training. It is never saved with the model.
    """

    config_class = KinesweepConfig
    backbone: PreTrainedModel
    encoders: nn.ModuleDict
    fusion: nn.Module
    reference: MotionDifference | None
    vision: VisionTower | None
    objective: TrainingObjective | None
    _backbone_ops: Any
    _backbone_reads_lengths: bool
    _build_input_vectors: Callable[..., InputVectors]

    def get_freezable_part(self, name: ModelPart) -> nn.Module:
        """Return the part of the model that has this name in `model.freeze`.

        Raises:
            InputError: If the backbone does not have this part.
        """
        if name == "encoder":
            modules = [self.encoders, self.fusion, self.reference]
            return nn.ModuleList([module for module in modules if module is not None])
        return self._backbone_ops.get_freezable_part(self.backbone, name)

    def freeze_parameters(self) -> None:
        """Freeze the parts listed in the recipe, and the weights under adapters.

        `from_pretrained` calls it after loading.
        """
        recipe = self.config.get_model_config()
        if self.vision is not None:
            self.vision.freeze_parameters()
        freeze_parameters(
            self.backbone,
            self.encoders.values(),
            has_adapters=recipe.backbone.lora is not None,
            frozen_parts=[self.get_freezable_part(part) for part in recipe.freeze],
        )

    @property
    def input_limit(self) -> int | None:
        """Return the maximum number of input vectors (prompt, frames, end).

        None: they have no limit of their own; `total_limit` may still apply.
        """
        return self._backbone_ops.get_input_limit(self.backbone)

    @property
    def output_limit(self) -> int | None:
        """Return the maximum number of tokens that the backbone can generate.

        None: they have no limit of their own; `total_limit` may still apply.
        """
        return self._backbone_ops.get_output_limit(self.backbone)

    @property
    def total_limit(self) -> int | None:
        """Return the number of positions that input vectors and generated tokens share.

        None: they share none, or there is no limit.
        """
        return self._backbone_ops.get_total_limit(self.backbone)

    @property
    def position_limit(self) -> PositionLimit:
        """Return the limit that determines whether streams are truncated."""
        total = self.total_limit
        return PositionLimit(self.input_limit if total is None else total, total is not None)

    @property
    def has_encoder(self) -> bool:
        """Return whether the backbone has an encoder, apart from its decoder."""
        return hasattr(self._backbone_ops, "encode")

    def encode_vectors(self, x_BNE: Tensor, mask_BN: Tensor) -> Tensor:
        """Run the backbone's encoder on vectors and their mask; returns its output (B, N, E)."""
        encoded_BNE: Tensor = self._backbone_ops.encode(self.backbone, x_BNE, mask_BN)
        return encoded_BNE

    def embed_tokens(self, ids_BL: Tensor) -> Tensor:
        """Embed token ids as the backbone does, (B, L, E)."""
        embedded_BLE: Tensor = self._backbone_ops.embed_tokens(self.backbone, ids_BL)
        return embedded_BLE

    def build_inputs_embeds(
        self, streams: dict[str, Tensor], frame_masks: dict[str, Tensor], *args: Any, **kwargs: Any
    ) -> MaskedVectors:
        """Build the language model's input: prompt, frames of each stream, text after them, end.

        With `model.reserved_text_tokens`, streams that do not fit are truncated and counted in
        `truncation_stats`.

        Args:
            streams: Name → features (B, T, D).
            frame_masks: Name → mask, bool (B, T).
            *args: `prompt_ids`, `prompt_mask`, `suffix_ids`, `suffix_mask`, `clip_ids` of
                `Translator.forward`.
            **kwargs: The same, `layout` and `observe_frames`.

        Returns:
            Vectors (B, N, E) and their mask, bool (B, N).

        Raises:
            InputError: If a stream is missing or has another width, or a prompt leaves no room for
                frames.
        """
        vectors = self._build_input_vectors(streams, frame_masks, *args, **kwargs)
        return vectors.x_BNE, vectors.mask_BN

    def bind_logits(self, vectors: InputVectors, num_labels: Sequence[int]) -> ComputeLogits:
        """Return the function from labels to their logits for an input.

        Args:
            vectors: Input of the language model.
            num_labels: Number of labels of each text; empty: masks are read back from the device.
        """
        known = {}
        if num_labels and self._backbone_reads_lengths:
            known["lengths"] = TextLengths(vectors.counts, num_labels)
        return partial(
            self._backbone_ops.compute_logits,
            self.backbone,
            vectors.x_BNE,
            vectors.mask_BN,
            **known,
        )

    def compute_logits(self, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor) -> Tensor:
        """Compute the logits of labels from input vectors and their mask, (B, L, V)."""
        logits_BLV: Tensor = self._backbone_ops.compute_logits(
            self.backbone, x_BNE, mask_BN, labels_BL
        )
        return logits_BLV

    def get_source_spans(self, stream: str, num_frames: int) -> list[SourceSpan]:
        """Return the frames that each vector of a stream represents, in time order.

        Empty if the stream's encoder, of a third party, does not say so.

        Args:
            stream: Name of the stream.
            num_frames: Number of real frames of the clip.
        """
        get_spans: Any = getattr(self.encoders[stream], "get_source_spans", None)
        if get_spans is None:
            return []
        if self.vision is None or stream not in self.config.get_frame_streams():
            return list(get_spans(num_frames))
        vector_spans = get_spans(self.vision.count_vectors(num_frames))
        return self.vision.get_source_spans(vector_spans, num_frames)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Write `config.json` and `model.safetensors`, with Hugging Face's arguments.

        Over a base model (`models.base_model`), weights of the base model are not written.
        """
        # Hugging Face would rename the weights of some models to those of earlier versions, and a
        # checkpoint is loaded by the names that the weights have in the model.
        kwargs.setdefault("save_original_format", False)
        if self.config.base is not None:
            with detach_objective(self):
                kwargs.setdefault("state_dict", get_non_base_state_dict(self))
        with silence_transformers(), detach_objective(self):
            super().save_pretrained(*args, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        folder: Any,
        *args: Any,
        base_models: str | None = None,
        device: torch.device | str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a saved translator from safetensors, strictly.

        Args:
            folder: Folder written by `save_pretrained`, or a hub id.
            *args: Passed to Hugging Face.
            base_models: Folder in which to look for a base model; None: the recipe's path, then the
                folder in `KINESWEEP_BASE_MODELS`.
            device: Target device; None: the CPU, or the GPU for a 4-bit base model. Without a GPU
                or bitsandbytes such a base model is loaded in float32, with a warning.
            **kwargs: Passed to Hugging Face; over a base model, `config`, `dtype`,
                `output_loading_info` and arguments for fetching from the hub.

        Returns:
            The translator, or a pair of translator and loading report with `output_loading_info`.

        Raises:
            CheckpointError: If the folder cannot be read, its weights are not exactly this model's
                (the first such key is named), or its base model is missing or a different one.
        """
        config = load_config_or_none(folder, kwargs.get("config"))
        if config is None or config.base is None:
            loaded = load_model_strict(super().from_pretrained, folder, *args, **kwargs)
        else:
            # `load_with_base_model` gets `config` by position; passing it twice would be an error.
            kwargs.pop("config", None)
            target_device = None if device is None else torch.device(device)
            loaded = load_with_base_model(cls, config, folder, base_models, target_device, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if device is not None:
            model.to(device)
        # Hugging Face replaces parameters when loading, and the new ones are not frozen.
        model.freeze_parameters()
        return loaded
