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
from kinesweep.core.hf_logging import quiet_transformers
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.checkpoint_io import load_config_or_none, load_strict, non_base_state_dict
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.frozen_base_loading import load_over_base
from kinesweep.models.fusion import Fit, build_fusion, concat_unpadded
from kinesweep.models.generation import Decoding
from kinesweep.models.length_budget import LengthBudget, Positions, TruncationStats
from kinesweep.models.lora import add_lora, is_of_adapter
from kinesweep.models.losses.closest_reference import Choices, closest, closest_loss
from kinesweep.models.losses.cross_entropy import TokenSums, cross_entropy, token_sums
from kinesweep.models.motion_difference import MotionDifference, encode
from kinesweep.models.streams import check_widths


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
        recipe = config.recipe_part()
        self._backbone_ops = BACKBONES[recipe.backbone.kind]
        self._vocabulary = config.words()
        self._end_token = recipe.ends_input
        self._reserve = recipe.reserved_text_tokens
        self.truncation_stats: dict[str, TruncationStats] = {}
        if backbone is None:
            backbone = self._backbone_ops.rebuild(config.backbone or {})
        out = backbone.get_input_embeddings().embedding_dim
        self.encoders = nn.ModuleDict(
            {
                name: build_encoder(recipe.encoder_of(name), width, out, config.skeleton(name))
                for name, width in config.encoded().items()
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
        self._freeze()
        self.to(backbone.device)  # a 4-bit backbone cannot be moved, so the rest follows it

    def forward(  # noqa: PLR0913 (a batch's parts by name, as `Batch.inputs` gives)
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        *,
        suffix_ids: Tensor | None = None,
        after_mask: Tensor | None = None,
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
            after_mask: Mask of these tokens, bool (B, A).
            clip_ids: Names of the clips, for error messages.
            all_labels: Labels of all references, (B, R, L). The model learns the closest one and
                returns its logits. None: the model learns `labels`.

        Raises:
            InputError: If there are no labels, a stream is missing or has another width, the input
                is longer than the backbone's positions, or there are more labels than reserved.
        """
        if labels is None:
            raise InputError("`forward` needs `labels`; call `generate` to translate.")
        longest = labels if all_labels is None else all_labels
        self.positions.check_text(self._reserve, longest.shape[-1])
        x_BNE, mask_BN = self.build_inputs_embeds(
            streams, frame_masks, prompt_ids, prompt_mask, suffix_ids, after_mask, clip_ids
        )
        smoothing = self.config.label_smoothing
        if all_labels is None:
            logits_BLV = self._backbone_ops.logits(self.backbone, x_BNE, mask_BN, labels)
            loss = cross_entropy(logits_BLV, labels, smoothing, num_items_in_batch)
            return TranslatorOutput(loss=loss, logits=logits_BLV)
        # Score every reference of every clip, then learn the likeliest of each clip.
        every = Choices.of(all_labels)
        logits_MLV = self._backbone_ops.logits(
            self.backbone, x_BNE, mask_BN, every.labels_ML, every.clip_M
        )
        row_B = closest(logits_MLV, every)
        logits_BLV, chosen_BL = logits_MLV[row_B], every.labels_ML[row_B]
        loss = closest_loss(logits_BLV, chosen_BL, labels, smoothing, num_items_in_batch)
        return TranslatorOutput(loss=loss, logits=logits_BLV)

    @torch.no_grad()
    def generate(  # noqa: PLR0913 (a batch's parts by name, as `Batch.generation_inputs` gives)
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        forced_ids: Tensor | None = None,
        forced_mask: Tensor | None = None,
        *,
        suffix_ids: Tensor | None = None,
        after_mask: Tensor | None = None,
        clip_ids: Sequence[str] | None = None,
        num_beams: int = 1,
        max_new_tokens: int = 100,
        length_penalty: float = 1.0,
    ) -> Tensor:
        """Generate the tokens of each clip, int64 (B, L): forced prompt, text, end, padding.

        Raises:
            InputError: As in `forward`.
        """
        self.positions.check_text(self._reserve, max_new_tokens)
        x_BNE, mask_BN = self.build_inputs_embeds(
            streams, frame_masks, prompt_ids, prompt_mask, suffix_ids, after_mask, clip_ids
        )
        decoding = Decoding(
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            length_penalty=length_penalty,
            num_tokens=self._vocabulary.size,
            forced_ids_BF=forced_ids,
            forced_mask_BF=forced_mask,
        )
        return self._backbone_ops.generate(self.backbone, x_BNE, mask_BN, decoding)

    @torch.no_grad()
    def token_sums(self, batch: Batch) -> TokenSums:
        """Return the sums of unsmoothed cross entropy, correct predictions and scored labels."""
        self.positions.check_text(self._reserve, batch.labels_BL.shape[1])
        x_BNE, mask_BN = self.build_inputs_embeds(**batch.generation_inputs())
        logits_BLV = self._backbone_ops.logits(self.backbone, x_BNE, mask_BN, batch.labels_BL)
        return token_sums(logits_BLV, batch.labels_BL)

    def build_inputs_embeds(
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        suffix_ids: Tensor | None = None,
        after_mask: Tensor | None = None,
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
        check_widths({name: x.shape[-1] for name, x in streams.items()}, self.config.widths())
        none_B0 = next(iter(frame_masks.values()))[:, :0]
        prompt_ids, prompt_mask = _or_none(prompt_ids, prompt_mask, none_B0)
        suffix_ids, after_mask = _or_none(suffix_ids, after_mask, none_B0)
        # One call embeds all text. The end token is always present; its mask switches it off.
        eos_B1 = prompt_ids.new_full((len(prompt_ids), 1), self._vocabulary.eos_id)
        ids_BW = torch.cat([prompt_ids, suffix_ids, eos_B1], dim=1)
        sizes = [prompt_ids.shape[1], suffix_ids.shape[1], 1]
        words = self._backbone_ops.embed(self.backbone, ids_BW).split(sizes, dim=1)
        end_B1 = torch.full_like(eos_B1, self._end_token, dtype=torch.bool)
        streams = {name: x_BTD.to(words[0].dtype) for name, x_BTD in streams.items()}
        frames = encode(self.encoders, self.reference, streams, frame_masks)
        masks_BW = torch.cat([prompt_mask, after_mask, end_B1], dim=1)
        joined = self.fusion(frames, self._fit(masks_BW, clip_ids))
        return concat_unpadded(
            [(words[0], prompt_mask), *joined, (words[1], after_mask), (words[2], end_B1)]
        )

    def attention_weights(self, x_BNE: Tensor, mask_BN: Tensor, labels_BL: Tensor) -> Tensor:
        """Return the attention weights of each label; see `Seq2Seq` and `Causal.attention`.

        Args:
            x_BNE: Input vectors, as returned by `build_inputs_embeds`.
            mask_BN: Mask of the vectors, bool.
            labels_BL: Tokens of the text.

        Raises:
            InputError: If the backbone returns no attention weights, or the text does not fit.
        """
        self.positions.check_text(self._reserve, labels_BL.shape[1])
        return self._backbone_ops.attention(self.backbone, x_BNE, mask_BN, labels_BL)

    def _fit(self, words_BW: Tensor, clip_ids: Sequence[str] | None) -> Fit:
        """Return the function that truncates streams to fit beside these words and the text."""
        if self._reserve is None or self.positions.limit is None:
            return lambda masks, _: masks
        # Without shared positions the text needs no room in the input.
        reserve = self._reserve if self.positions.shared else 0
        names = clip_ids or [f"row {row}" for row in range(len(words_BW))]
        clips = [f"clip `{name}`" for name in names]
        others = words_BW.sum(dim=1).tolist()
        return LengthBudget(self.positions.limit, reserve, others, clips, self.truncation_stats).fit

    @property
    def input_limit(self) -> int | None:
        """Number of input vectors (prompt, frames, end) the backbone supports; None: unlimited."""
        return self._backbone_ops.input_limit(self.backbone)

    @property
    def output_limit(self) -> int | None:
        """Number of tokens the backbone can write; None: unlimited."""
        return self._backbone_ops.output_limit(self.backbone)

    @property
    def total_limit(self) -> int | None:
        """Number of positions shared by vectors and tokens; None: not shared, or unlimited."""
        return self._backbone_ops.total_limit(self.backbone)

    @property
    def positions(self) -> Positions:
        """The limit that determines whether streams are truncated."""
        total = self.total_limit
        return Positions(self.input_limit if total is None else total, total is not None)

    def submodule(self, name: ModelPart) -> nn.Module:
        """Return a part of the model that can be frozen."""
        if name == "encoder":
            ours = [self.encoders, self.fusion, self.reference]
            return nn.ModuleList([one for one in ours if one is not None])
        return self._backbone_ops.submodule(self.backbone, name)

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embeddings."""
        return self.backbone.get_input_embeddings()

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Write `config.json` and `model.safetensors`, like Hugging Face.

        Over a base model (`models.base`), weights of the base are not written.
        """
        if self.config.base is not None:
            kwargs.setdefault("state_dict", non_base_state_dict(self))
        with quiet_transformers():
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
            loaded = load_strict(super().from_pretrained, folder, *args, **kwargs)
        else:
            kwargs.pop("config", None)
            place = None if device is None else torch.device(device)
            loaded = load_over_base(cls, config, folder, base_models, place, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if device is not None:
            model.to(device)
        # Hugging Face replaces parameters when loading, and the new ones are not frozen.
        model._freeze()
        return loaded

    def _freeze(self) -> None:
        """Freeze the parts listed in the recipe, and weights that have adapters."""
        # Order matters: `recipe.freeze` may freeze what the adapters leave trainable.
        recipe = self.config.recipe_part()
        if recipe.backbone.lora is not None:
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(is_of_adapter(name))
        for encoder in self.encoders.values():
            if isinstance(encoder, GraphEncoder):
                encoder.freeze()
        for part in recipe.freeze:
            self.submodule(part).requires_grad_(False)


def _or_none(
    ids_BP: Tensor | None, mask_BP: Tensor | None, none_B0: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the tokens and their mask, or a width of zero if there are none."""
    if ids_BP is None or mask_BP is None:
        return none_B0.long(), none_B0
    return ids_BP, mask_BP
