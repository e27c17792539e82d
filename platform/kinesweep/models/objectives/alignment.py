"""Alignment of clips with texts: contrastive training of both encoders, restoration of texts.

The first stage of GFSLT-VLP (Zhou et al. 2023, arXiv 2307.14768) on the translator itself. A clip
passes through the stream encoders and the backbone's encoder, a text through its token embeddings
and the same encoder (or a small one of its own); the means of their outputs are compared. Texts
with masked tokens pass through encoder and decoder, which restores them. In the paper, clips and
texts have encoders of their own and the decoder has an optimizer of its own and every fifth step;
here one encoder reads both, so the decoder meets clips later where it met texts. Prompts are not
read: whatever text they hold would make the comparison easy.

The projections, the temperature and the embedding of masked tokens are weights of this stage only.

Shapes: B clips, N input vectors, L tokens, E width of the backbone, P width of the comparison.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.objectives.text_alignment import TextAlignmentConfig
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.batch import IGNORE
from kinesweep.models.losses.closest_reference import compute_mean_losses
from kinesweep.models.losses.cross_entropy import compute_cross_entropy
from kinesweep.models.losses.part_loss import average_over_step
from kinesweep.models.losses.text_video_contrastive import compute_text_video_share
from kinesweep.models.objectives.base_objective import (
    TrainingObjective,
    compute_sign_contrast,
)
from kinesweep.models.objectives.masked_text import draw_masked_tokens
from kinesweep.models.objectives.text_encoder import build_text_encoder
from kinesweep.models.training_loss import TranslatorOutput

# Largest inverse temperature, as in CLIP: beyond it, training becomes unstable.
_MAX_SCALE = 100.0
_INITIAL_STD = 0.02


@dataclass(frozen=True)
class AlignmentFeatures:
    """What an evaluation needs of a batch, on the CPU.

    Attributes:
        sign_BP: Projected features of the clips.
        text_BP: Projected features of their texts.
        restoration_B: Mean loss per token of each restored text; None without restoration.
        sign_contrast_B: Sign contrastive loss of each clip; None without it.
    """

    sign_BP: Tensor
    text_BP: Tensor
    restoration_B: Tensor | None
    sign_contrast_B: Tensor | None


class AlignmentObjective(TrainingObjective):
    """The loss of the stage `align`, with its projections, temperature and mask embedding.

    Args:
        training: Section `training`, with the settings of the losses, accumulation and the seed.
        width: Width E of the backbone.

    Attributes:
        num_batches: Number of batches trained so far, from which masks are drawn.
    """

    replaces_translation = True
    num_batches: Tensor

    def __init__(self, training: TrainingConfig, width: int) -> None:
        super().__init__()
        self.config: TextAlignmentConfig = training.effective_alignment
        self.sign_contrastive = training.sign_contrastive
        self._smoothing = training.label_smoothing_factor
        self._num_accumulated = training.gradient_accumulation_steps
        self._seed = training.seed
        projection_width = self.config.projection_width or width
        self.sign_projection = nn.Linear(width, projection_width, bias=False)
        self.text_projection = nn.Linear(width, projection_width, bias=False)
        self.text_encoder = build_text_encoder(self.config.text_encoder, width)
        # One value per parameter: sharded training does not support tensors without a dimension.
        initial_scale = torch.full((1,), -math.log(self.config.temperature))
        self.log_scale = nn.Parameter(initial_scale, requires_grad=self.config.learn_temperature)
        self.mask_embedding: nn.Parameter | None = None
        if self.config.restoration is not None:
            # Drawn like the token embeddings of most backbones.
            self.mask_embedding = nn.Parameter(_INITIAL_STD * torch.randn(width))
        # Saved with the weights, so that a resumed run draws the masks that it would have drawn.
        self.register_buffer("num_batches", torch.zeros(1, dtype=torch.int64))

    @property
    def scale(self) -> Tensor:
        """Return the inverse temperature, (1,)."""
        # A clamp would stop the gradient too, and the temperature would never leave the limit.
        excess = (self.log_scale.detach() - math.log(_MAX_SCALE)).clamp(min=0)
        return (self.log_scale - excess).exp()

    def forward(
        self, translator: Any, inputs: Mapping[str, Any], num_items: Tensor | int | None
    ) -> TranslatorOutput:
        """Compute the weighted sum of all losses; see `TrainingObjective`.

        A collective call in distributed training. The sum over ranks is the loss of the step, as
        for the translation loss.
        """
        labels_BL = inputs["labels"]
        frames: dict[str, Any] = {}
        sign_BP = self._project_signs(translator, inputs, frames)
        text_BP = self._project_texts(translator, labels_BL)
        contrastive = self._compute_contrastive_loss(sign_BP, text_BP, labels_BL)
        # Averaged over batches: unlike other losses, it is not a sum over labels of the step.
        loss = self.config.contrastive_weight * contrastive / self._num_accumulated
        if self.config.restoration is not None:
            # The batch and not the optimizer step, so that accumulated batches have masks of their
            # own.
            step = int(self.num_batches)
            logits_BLV = self._restore_texts(translator, labels_BL, inputs["clip_ids"], step)
            loss = loss + self.config.restoration.weight * compute_cross_entropy(
                logits_BLV, labels_BL, self._smoothing, num_items
            )
        if self.sign_contrastive is not None:
            loss_B = compute_sign_contrast(frames, labels_BL, self.sign_contrastive)
            loss = loss + self.sign_contrastive.weight * average_over_step(
                loss_B, labels_BL, num_items
            )
        self.num_batches += 1
        return TranslatorOutput(loss=loss)

    @torch.no_grad()
    def compute_features(self, translator: Any, inputs: Mapping[str, Any]) -> AlignmentFeatures:
        """Compute the features and losses of a batch for an evaluation.

        Texts are masked in the same way in every evaluation.

        Args:
            translator: Translator in evaluation mode.
            inputs: Streams, masks, labels and clip ids of the batch.
        """
        labels_BL = inputs["labels"]
        frames: dict[str, Any] = {}
        sign_BP = self._project_signs(translator, inputs, frames).float().cpu()
        restoration_B = sign_contrast_B = None
        if self.config.restoration is not None:
            logits_BLV = self._restore_texts(
                translator, labels_BL, inputs["clip_ids"], "evaluation"
            )
            restoration_B = compute_mean_losses(logits_BLV, labels_BL, 0.0).cpu()
        if self.sign_contrastive is not None:
            sign_contrast_B = compute_sign_contrast(frames, labels_BL, self.sign_contrastive).cpu()
        text_BP = self._project_texts(translator, labels_BL).float().cpu()
        return AlignmentFeatures(sign_BP, text_BP, restoration_B, sign_contrast_B)

    def _project_signs(
        self, translator: Any, inputs: Mapping[str, Any], frames: dict[str, Any]
    ) -> Tensor:
        """Encode, average and project the clips, (B, P); `frames` receives the encoded streams."""
        x_BNE, mask_BN = translator.build_inputs_embeds(
            inputs["streams"],
            inputs["frame_masks"],
            clip_ids=inputs["clip_ids"],
            layout=inputs.get("layout"),
            observe_frames=frames.update,
        )
        # A causal backbone reads the vectors in its decoder, so what enters it is compared.
        if translator.has_encoder:
            x_BNE = translator.encode_vectors(x_BNE, mask_BN)
        projected_BP: Tensor = self.sign_projection(_average_vectors(x_BNE, mask_BN))
        return projected_BP

    def _project_texts(self, translator: Any, labels_BL: Tensor) -> Tensor:
        """Encode, average and project the texts, (B, P)."""
        x_BLE, mask_BL = _embed_texts(translator, labels_BL)
        if self.text_encoder is None:
            x_BLE = translator.encode_vectors(x_BLE, mask_BL)
        else:
            x_BLE = self.text_encoder(x_BLE, mask_BL)
        projected_BP: Tensor = self.text_projection(_average_vectors(x_BLE, mask_BL))
        return projected_BP

    def _compute_contrastive_loss(
        self, sign_BP: Tensor, text_BP: Tensor, labels_BL: Tensor
    ) -> Tensor:
        """Compute this rank's part of the mean loss over the clips of all ranks."""
        # Texts are equal if their labels are.
        return compute_text_video_share(sign_BP.float(), text_BP.float(), labels_BL, self.scale)

    def _restore_texts(
        self, translator: Any, labels_BL: Tensor, clip_ids: Sequence[str], step: int | str
    ) -> Tensor:
        """Compute the logits of texts from their masked copies, (B, L, V)."""
        assert self.config.restoration is not None
        assert self.mask_embedding is not None
        masked_BL = draw_masked_tokens(
            labels_BL, clip_ids, self.config.restoration, self._seed, step
        )
        x_BLE, mask_BL = _embed_texts(translator, labels_BL)
        # `where` would promote the embeddings to the precision of the parameter.
        mask_E = self.mask_embedding.to(x_BLE.dtype)
        x_BLE = torch.where(masked_BL[..., None], mask_E, x_BLE)
        logits_BLV: Tensor = translator.compute_logits(x_BLE, mask_BL, labels_BL)
        return logits_BLV


def _embed_texts(translator: Any, labels_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Embed the tokens of texts; returns vectors (B, L, E) and their mask, bool (B, L)."""
    mask_BL = labels_BL != IGNORE
    # Any id serves as padding, because the mask excludes its positions.
    return translator.embed_tokens(labels_BL.masked_fill(~mask_BL, 0)), mask_BL


def _average_vectors(x_BNE: Tensor, mask_BN: Tensor) -> Tensor:
    """Average the real vectors of each clip or text, (B, E)."""
    # Padding may hold anything, even NaN, which a product with 0 would keep.
    total_BE = x_BNE.masked_fill(~mask_BN[..., None], 0).sum(dim=1)
    return total_BE / mask_BN.sum(dim=1, keepdim=True)
