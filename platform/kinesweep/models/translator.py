"""The translator: one encoder per stream, fusion, a language model, and the loss.

It maps features to logits or text; training and generation share one path up to the language model.
It is a Hugging Face `PreTrainedModel`. Build it with `build_translator`; `Translator(config)` alone
has random weights. Its steps are in `input_embedding`, `length_budget` (truncation),
`training_loss`, `frozen_parameters` and `base_translator` (saving and loading).

Shapes: B clips, T frames, D features, P prompt tokens, A suffix tokens (after the frames), N input
vectors, E width, L target tokens, F forced tokens, V vocabulary, R references.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kinesweep.core.batch import Batch, BatchLayout
from kinesweep.core.errors import InputError
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.backbones.padding_masks import reads_lengths
from kinesweep.models.base_translator import BaseTranslator
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.token_streams import prepare_streams
from kinesweep.models.fusion import MaskedVectors, build_fusion
from kinesweep.models.generation import DecodingSettings, TextOptions
from kinesweep.models.input_embedding import InputVectors, build_input_text
from kinesweep.models.length_budget import TruncationStats, create_mask_truncator
from kinesweep.models.lora import add_lora
from kinesweep.models.losses.closest_reference import ReferenceLabels
from kinesweep.models.losses.cross_entropy import TokenSums, compute_token_sums
from kinesweep.models.losses.part_loss import PartLoss
from kinesweep.models.motion_difference import MotionDifference, encode_streams
from kinesweep.models.streams import check_stream_widths
from kinesweep.models.training_loss import TranslatorOutput, compute_translator_output
from kinesweep.models.vision.vision_loading import build_vision_tower


class Translator(BaseTranslator):
    """A model that translates motion features into text.

    Args:
        config: Configuration of the model.
        backbone: Language model with its weights; None: one is built with random weights.
        vision: Vision network with its weights, if the configuration has one; None: one is built
            with random weights.

    Attributes:
        truncation_stats: Stream → number of clips and vectors truncated so far to fit the
            backbone's positions, in training and generation of this process.
    """

    base_model_prefix = "translator"
    # The Trainer counts the elements of the main input if it is in the batch; ours is a dict.
    main_input_name = "inputs"
    supports_gradient_checkpointing = True

    def __init__(
        self,
        config: KinesweepConfig,
        backbone: PreTrainedModel | None = None,
        vision: nn.Module | None = None,
    ) -> None:
        super().__init__(config)
        recipe = config.get_model_config()
        self._backbone_ops = get_backbone_ops(recipe.backbone)
        self._backbone_reads_lengths = reads_lengths(self._backbone_ops)
        self._vocabulary = config.get_vocabulary()
        self._appends_eos = recipe.should_append_eos
        self._num_reserved_tokens = recipe.reserved_text_tokens
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
        self.vision = build_vision_tower(recipe.vision, config.vision, vision)
        self.register_module("objective", None)
        # Modules that must not be split when the model is sharded over devices.
        self._no_split_modules = list(backbone._no_split_modules or ())
        self.post_init()
        # After Hugging Face's initialization, which would overwrite the zeros of the B matrices.
        if recipe.backbone.lora is not None:
            add_lora(backbone, recipe.backbone.lora)
        if self.vision is not None:
            self.vision.add_adapters()
        self.freeze_parameters()
        self.to(backbone.device)  # a quantized backbone cannot be moved, so the rest follows it

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
        layout: BatchLayout | None = None,
        observe_frames: Callable[[dict[str, MaskedVectors]], None] | None = None,
        part_loss: PartLoss | None = None,
        **_: Any,
    ) -> TranslatorOutput:
        """Compute logits and loss for aligned labels, or the loss of a training objective.

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
            layout: Lengths of the batch; None: they are read from the masks.
            observe_frames: Function that receives the encoded streams; an attached objective gives
                it to get the model's own loss.
            part_loss: Loss of another package; an attached objective gives it.

        Raises:
            InputError: If there are no labels, a stream is missing or has another width, the input
                is longer than the backbone's positions, or there are more labels than reserved.
        """
        if labels is None:
            raise InputError("`forward` needs `labels`; call `generate` to translate.")
        longest_labels = labels if all_labels is None else all_labels
        self.position_limit.check_text_length(self._num_reserved_tokens, longest_labels.shape[-1])
        inputs: dict[str, Any] = {
            **{"streams": streams, "frame_masks": frame_masks, "clip_ids": clip_ids},
            **{"prompt_ids": prompt_ids, "prompt_mask": prompt_mask},
            **{"suffix_ids": suffix_ids, "suffix_mask": suffix_mask, "layout": layout},
        }
        if self.objective is not None and observe_frames is None:
            inputs |= {"labels": labels, "all_labels": all_labels}
            return self.objective(self, inputs, num_items_in_batch)
        vectors = self._build_input_vectors(**inputs, observe_frames=observe_frames)
        references, num_labels = None, [] if layout is None else layout.first_labels
        if all_labels is not None:
            references = ReferenceLabels.from_padded_labels(all_labels, layout)
            num_labels = [] if layout is None else layout.all_labels
        compute_logits = self.bind_logits(vectors, num_labels)
        smoothing = self.config.label_smoothing
        return compute_translator_output(
            compute_logits, labels, references, smoothing, num_items_in_batch, part_loss
        )

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
        layout: BatchLayout | None = None,
        num_beams: int = 1,
        max_new_tokens: int = 100,
        length_penalty: float = 1.0,
        options: TextOptions = TextOptions(),
    ) -> Tensor:
        """Generate the tokens of each clip, int64 (B, L): forced prompt, text, end, padding.

        Args:
            streams: Name → features (B, T, D).
            frame_masks: Name → mask, bool (B, T).
            prompt_ids: Tokens before the frames, (B, P).
            prompt_mask: Mask of the prompt, bool (B, P).
            forced_ids: Tokens that each text must begin with, (B, F).
            forced_mask: Mask of the forced tokens, bool (B, F), True on the left only.
            suffix_ids: Tokens after the frames, (B, A).
            suffix_mask: Mask of these tokens, bool (B, A).
            clip_ids: Names of the clips, for error messages.
            layout: Lengths of the batch; None: they are read from the masks.
            num_beams: Number of beams; 1 is greedy decoding.
            max_new_tokens: Maximum number of tokens, including forced tokens and end of sentence.
            length_penalty: Exponent of the length; used by beam search only.
            options: Smallest length, penalties on repetition, and sampling.

        Raises:
            InputError: If a stream is missing or has another width, the input is longer than the
                backbone's positions, or `max_new_tokens` is more than reserved.
        """
        self.position_limit.check_text_length(self._num_reserved_tokens, max_new_tokens)
        x_BNE, mask_BN = self.build_inputs_embeds(
            *(streams, frame_masks, prompt_ids, prompt_mask),
            *(suffix_ids, suffix_mask, clip_ids),
            layout=layout,
        )
        decoding = DecodingSettings(
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            length_penalty=length_penalty,
            num_tokens=self._vocabulary.size,
            forced_ids_BF=forced_ids,
            forced_mask_BF=forced_mask,
            options=options,
        )
        return self._backbone_ops.generate(self.backbone, x_BNE, mask_BN, decoding)

    @torch.no_grad()
    def compute_token_sums(self, batch: Batch) -> TokenSums:
        """Compute the sums of unsmoothed cross entropy, correct predictions and scored labels.

        Raises:
            InputError: If the batch does not fit the model, as in `forward`.
        """
        self.position_limit.check_text_length(self._num_reserved_tokens, batch.labels_BL.shape[1])
        vectors = self._build_input_vectors(**batch.get_generate_kwargs())
        num_labels = [] if batch.layout is None else batch.layout.first_labels
        logits_BLV = self.bind_logits(vectors, num_labels)(batch.labels_BL)
        return compute_token_sums(logits_BLV, batch.labels_BL)

    def _build_input_vectors(  # noqa: PLR0913 (the arguments of `Batch.get_generate_kwargs`)
        self,
        streams: dict[str, Tensor],
        frame_masks: dict[str, Tensor],
        prompt_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        suffix_ids: Tensor | None = None,
        suffix_mask: Tensor | None = None,
        clip_ids: Sequence[str] | None = None,
        *,
        layout: BatchLayout | None = None,
        observe_frames: Callable[[dict[str, MaskedVectors]], None] | None = None,
    ) -> InputVectors:
        """Build the language model's input; see `build_inputs_embeds`."""
        check_stream_widths(
            {name: x.shape[-1] for name, x in streams.items()}, self.config.get_stream_widths()
        )
        layout = layout or BatchLayout.from_masks(frame_masks, prompt_mask, suffix_mask)
        text = build_input_text(
            (prompt_ids, prompt_mask),
            (suffix_ids, suffix_mask),
            next(iter(frame_masks.values())),
            self._vocabulary.eos_id,
            self._appends_eos,
            layout,
        )
        # One call embeds all text; `insert_frames` splits the result again.
        text_BWE = self._backbone_ops.embed_tokens(self.backbone, text.concat_ids())
        lengths: Mapping[str, Sequence[int]] = layout.frames
        if self.vision is not None:
            streams, frame_masks, lengths = self.vision.replace_frames(
                streams, frame_masks, lengths, self.config.get_frame_streams()
            )
        embed_tokens = partial(self._backbone_ops.embed_tokens, self.backbone)
        streams = prepare_streams(streams, self.encoders, embed_tokens, text_BWE.dtype)
        frames, counts = encode_streams(
            self.encoders, self.reference, streams, frame_masks, lengths
        )
        if observe_frames is not None:
            observe_frames(frames)
        truncate_masks = create_mask_truncator(
            self.position_limit,
            self._num_reserved_tokens,
            text.counts,
            clip_ids,
            self.truncation_stats,
        )
        return text.insert_frames(text_BWE, self.fusion(frames, counts, truncate_masks))

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token embeddings."""
        return self.backbone.get_input_embeddings()
