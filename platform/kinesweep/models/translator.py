"""The translator: one encoder per stream, fusion, a language model, and the loss.

It maps features to logits or text; training and generation share one path up to the language model.
It is a Hugging Face `PreTrainedModel`, so it saves, loads and trains like one. Build it with
`build_translator`; `Translator(config)` alone has random weights.

Shapes: B clips, T frames, D features, P prompt tokens, N joined vectors, E width, L target tokens,
F forced tokens, V vocabulary, R references.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from kinesweep.config.recipe.model import ModelPart
from kinesweep.core.batch import Batch
from kinesweep.core.errors import InputError
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.checkpoint_io import (
    get_non_base_state_dict,
    load_config_or_none,
    load_model_strict,
)
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.frozen_base_loading import load_with_base_model
from kinesweep.models.fusion import TruncateMasks, build_fusion, concat_unpadded
from kinesweep.models.generation import DecodingSettings
from kinesweep.models.length_budget import LengthBudget, PositionLimit, TruncationStats
from kinesweep.models.lora import add_lora, is_adapter_weight
from kinesweep.models.losses.closest_reference import (
    ReferenceLabels,
    compute_closest_reference_loss,
    find_closest_references,
)
from kinesweep.models.losses.cross_entropy import (
    TokenSums,
    compute_cross_entropy,
    compute_token_sums,
)
from kinesweep.models.motion_difference import MotionDifference, encode_streams
from kinesweep.models.streams import check_stream_widths


@dataclass
class TranslatorOutput(ModelOutput):
    """The output of `Translator.forward`.

    Attributes:
        loss: Scalar loss.
        logits: Logits (B, L, V), aligned to the labels.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class Translator(PreTrainedModel):
    """A model that translates motion features into text.

    Args:
        config: Configuration of the model.
        backbone: Language model with its weights; None: one is built with random weights.

    Attributes:
        truncation_stats: Stream → number of clips and vectors truncated so far to fit the
            backbone's positions, in training and generation of this process.
    """

    config_class = KinesweepConfig
    base_model_prefix = "translator"
    # The Trainer counts the elements of the main input if it is in the batch; ours is a dict.
    main_input_name = "inputs"
    supports_gradient_checkpointing = True

    def __init__(self, config: KinesweepConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        recipe = config.get_model_config()
        self._backbone_ops = BACKBONES[recipe.backbone.kind]
        self._vocabulary = config.get_vocabulary()
        self._appends_eos = recipe.should_append_eos
        self._reserve = recipe.reserved_text_tokens
        self.truncation_stats: dict[str, TruncationStats] = {}
        if backbone is None:
            backbone = self._backbone_ops.create_from_saved_config(config.backbone or {})
        out = backbone.get_input_embeddings().embedding_dim
        self.encoders = nn.ModuleDict(
            {
                name: build_encoder(
                    recipe.get_encoder_config(name), width, out, config.get_skeleton(name)
                )
                for name, width in config.get_encoder_widths().items()
            }
        )
        self.reference = (
            None if recipe.reference is None else MotionDifference(recipe.reference, out)
        )
        self.fusion = build_fusion(recipe.fusion, list(self.encoders), out)
        self.backbone = backbone
        # Modules that must not be split when the model is sharded over devices.
        self._no_split_modules = list(backbone._no_split_modules or ())
        self.post_init()
        # After Hugging Face's initialization, which would overwrite the zeros of the B matrices.
        if recipe.backbone.lora is not None:
            add_lora(backbone, recipe.backbone.lora)
        self._freeze_parameters()
        self.to(backbone.device)  # a 4-bit backbone cannot be moved, so the rest follows it

    def forward(  # noqa: PLR0913 (the arguments of `Batch.get_forward_kwargs`)
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        *,
        suffix_ids: Tensor | None = None,
        suffix_mask: Tensor | None = None,
        clip_ids: Sequence[str] | None = None,
        all_labels: Tensor | None = None,
        **_: Any,
    ) -> TranslatorOutput:
        """Compute logits and loss for aligned labels.

        Args:
            streams: Name → features (B, T, D).
            frame_masks: Name → mask, bool (B, T).
            prompt_ids: Tokens before the frames, (B, P).
            prompt_mask: Mask of the prompt, bool (B, P).
            labels: Target tokens (B, L); `IGNORE` where padded.
            num_items_in_batch: Number of labels in the whole optimizer step, by which the summed
                loss is divided; None: the mean over this batch.
            suffix_ids: Tokens after the frames, (B, A).
            suffix_mask: Mask of these tokens, bool (B, A).
            clip_ids: Names of the clips, for error messages.
            all_labels: Labels of all references, (B, R, L). The loss and the logits are those of
                each clip's likeliest reference. None: those of `labels`.

        Raises:
            InputError: If there are no labels, a stream is missing or has another width, the input
                is longer than the backbone's positions, or there are more labels than reserved.
        """
        if labels is None:
            raise InputError("`forward` needs `labels`; call `generate` to translate.")
        longest = labels if all_labels is None else all_labels
        self.position_limit.check_text_length(self._reserve, longest.shape[-1])
        x_BNE, mask_BN = self.build_inputs_embeds(
            streams, frame_masks, prompt_ids, prompt_mask, suffix_ids, suffix_mask, clip_ids
        )
        smoothing = self.config.label_smoothing
        if all_labels is None:
            logits_BLV = self._backbone_ops.compute_logits(self.backbone, x_BNE, mask_BN, labels)
            loss = compute_cross_entropy(logits_BLV, labels, smoothing, num_items_in_batch)
            return TranslatorOutput(loss=loss, logits=logits_BLV)
        # Score every reference of every clip, then train on the likeliest of each clip.
        references = ReferenceLabels.from_padded_labels(all_labels)
        logits_MLV = self._backbone_ops.compute_logits(
            self.backbone, x_BNE, mask_BN, references.labels_ML, references.clip_M
        )
        row_B = find_closest_references(logits_MLV, references)
        logits_BLV, chosen_BL = logits_MLV[row_B], references.labels_ML[row_B]
        loss = compute_closest_reference_loss(
            logits_BLV, chosen_BL, labels, smoothing, num_items_in_batch
        )
        return TranslatorOutput(loss=loss, logits=logits_BLV)

    @torch.no_grad()
    def generate(  # noqa: PLR0913 (the arguments of `Batch.get_generate_kwargs`)
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        forced_ids: Tensor | None = None,
        forced_mask: Tensor | None = None,
        *,
        suffix_ids: Tensor | None = None,
        suffix_mask: Tensor | None = None,
        clip_ids: Sequence[str] | None = None,
        num_beams: int = 1,
        max_new_tokens: int = 100,
        length_penalty: float = 1.0,
    ) -> Tensor:
        """Generate the tokens of each clip, int64 (B, L): forced prompt, text, end, padding.

        Raises:
            InputError: As in `forward`.
        """
        self.position_limit.check_text_length(self._reserve, max_new_tokens)
        x_BNE, mask_BN = self.build_inputs_embeds(
            streams, frame_masks, prompt_ids, prompt_mask, suffix_ids, suffix_mask, clip_ids
        )
        decoding = DecodingSettings(
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            length_penalty=length_penalty,
            num_tokens=self._vocabulary.size,
            forced_ids_BF=forced_ids,
            forced_mask_BF=forced_mask,
        )
        return self._backbone_ops.generate(self.backbone, x_BNE, mask_BN, decoding)

    @torch.no_grad()
    def compute_token_sums(self, batch: Batch) -> TokenSums:
        """Compute the sums of unsmoothed cross entropy, correct predictions and scored labels."""
        self.position_limit.check_text_length(self._reserve, batch.labels_BL.shape[1])
        x_BNE, mask_BN = self.build_inputs_embeds(**batch.get_generate_kwargs())
        logits_BLV = self._backbone_ops.compute_logits(
            self.backbone, x_BNE, mask_BN, batch.labels_BL
        )
        return compute_token_sums(logits_BLV, batch.labels_BL)

    def build_inputs_embeds(
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        suffix_ids: Tensor | None = None,
        suffix_mask: Tensor | None = None,
        clip_ids: Sequence[str] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Build the language model's input: prompt, frames of each stream, text after them, end.

        With `model.reserved_text_tokens`, streams that do not fit are truncated and counted in
        `truncation_stats`.

        Returns:
            Vectors (B, N, E) and their mask, bool (B, N).

        Raises:
            InputError: If a stream is missing or has another width, or a prompt leaves no room for
                frames.
        """
        check_stream_widths(
            {name: x.shape[-1] for name, x in streams.items()}, self.config.get_stream_widths()
        )
        empty_B0 = next(iter(frame_masks.values()))[:, :0]
        prompt_ids, prompt_mask = _default_to_empty(prompt_ids, prompt_mask, empty_B0)
        suffix_ids, suffix_mask = _default_to_empty(suffix_ids, suffix_mask, empty_B0)
        # One call embeds all text. The end token is always present; its mask switches it off.
        eos_B1 = prompt_ids.new_full((len(prompt_ids), 1), self._vocabulary.eos_id)
        ids_BW = torch.cat([prompt_ids, suffix_ids, eos_B1], dim=1)
        sizes = [prompt_ids.shape[1], suffix_ids.shape[1], 1]
        text_embeddings = self._backbone_ops.embed_tokens(self.backbone, ids_BW).split(sizes, dim=1)
        eos_mask_B1 = torch.full_like(eos_B1, self._appends_eos, dtype=torch.bool)
        streams = {name: x_BTD.to(text_embeddings[0].dtype) for name, x_BTD in streams.items()}
        frames = encode_streams(self.encoders, self.reference, streams, frame_masks)
        masks_BW = torch.cat([prompt_mask, suffix_mask, eos_mask_B1], dim=1)
        fused = self.fusion(frames, self._make_mask_truncator(masks_BW, clip_ids))
        return concat_unpadded(
            [
                (text_embeddings[0], prompt_mask),
                *fused,
                (text_embeddings[1], suffix_mask),
                (text_embeddings[2], eos_mask_B1),
            ]
        )

    def compute_attention_weights(
        self, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Compute the attention weights of each label, as the backbone's method of the same name.

        Args:
            x_BNE: Input vectors, as returned by `build_inputs_embeds`.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Tokens of the text.

        Raises:
            InputError: If the backbone returns no attention weights, or the text does not fit.
        """
        self.position_limit.check_text_length(self._reserve, labels_BL.shape[1])
        return self._backbone_ops.compute_attention_weights(
            self.backbone, x_BNE, mask_BN, labels_BL
        )

    def _make_mask_truncator(
        self, text_mask_BW: Tensor, clip_ids: Sequence[str] | None
    ) -> TruncateMasks:
        """Return a function that truncates masks to leave room for prompt, suffix and text."""
        if self._reserve is None or self.position_limit.limit is None:
            return lambda masks, _: masks
        # Without shared positions the text needs no room in the input.
        reserve = self._reserve if self.position_limit.shared else 0
        names = clip_ids or [f"row {row}" for row in range(len(text_mask_BW))]
        clip_names = [f"clip `{name}`" for name in names]
        num_other_vectors = text_mask_BW.sum(dim=1).tolist()
        return LengthBudget(
            self.position_limit.limit, reserve, num_other_vectors, clip_names, self.truncation_stats
        ).truncate_masks

    @property
    def input_limit(self) -> int | None:
        """Return the maximum number of input vectors (prompt, frames, end); None: unlimited."""
        return self._backbone_ops.get_input_limit(self.backbone)

    @property
    def output_limit(self) -> int | None:
        """Return the maximum number of tokens the backbone can generate; None: unlimited."""
        return self._backbone_ops.get_output_limit(self.backbone)

    @property
    def total_limit(self) -> int | None:
        """Return the number of positions shared by vectors and tokens; None: none or unlimited."""
        return self._backbone_ops.get_total_limit(self.backbone)

    @property
    def position_limit(self) -> PositionLimit:
        """Return the limit that determines whether streams are truncated."""
        total = self.total_limit
        return PositionLimit(self.input_limit if total is None else total, total is not None)

    def get_freezable_part(self, name: ModelPart) -> nn.Module:
        """Return a part of the model that can be frozen."""
        if name == "encoder":
            modules = [self.encoders, self.fusion, self.reference]
            return nn.ModuleList([module for module in modules if module is not None])
        return self._backbone_ops.get_freezable_part(self.backbone, name)

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embeddings."""
        return self.backbone.get_input_embeddings()

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Write `config.json` and `model.safetensors`, like Hugging Face.

        Over a base model (`models.base`), weights of the base are not written.
        """
        if self.config.base is not None:
            kwargs.setdefault("state_dict", get_non_base_state_dict(self))
        with silence_transformers():
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

        Raises:
            CheckpointError: If the folder cannot be read, its weights are not exactly this model's
                (the first such key is named), or its base model is missing or a different one.
        """
        config = load_config_or_none(folder, kwargs.get("config"))
        if config is None or config.base is None:
            loaded = load_model_strict(super().from_pretrained, folder, *args, **kwargs)
        else:
            kwargs.pop("config", None)
            target_device = None if device is None else torch.device(device)
            loaded = load_with_base_model(cls, config, folder, base_models, target_device, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if device is not None:
            model.to(device)
        # Hugging Face replaces parameters when loading, and the new ones are not frozen.
        model._freeze_parameters()
        return loaded

    def _freeze_parameters(self) -> None:
        """Freeze the parts listed in the recipe, and the weights under adapters."""
        # Order matters: `recipe.freeze` may freeze what the adapters leave trainable.
        recipe = self.config.get_model_config()
        if recipe.backbone.lora is not None:
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(is_adapter_weight(name))
        for encoder in self.encoders.values():
            if isinstance(encoder, GraphEncoder):
                encoder.freeze_base_weights()
        for part in recipe.freeze:
            self.get_freezable_part(part).requires_grad_(False)


def _default_to_empty(
    ids_BP: Tensor | None, mask_BP: Tensor | None, empty_B0: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the tokens and their mask, or a width of zero if there are none."""
    if ids_BP is None or mask_BP is None:
        return empty_B0.long(), empty_B0
    return ids_BP, mask_BP
