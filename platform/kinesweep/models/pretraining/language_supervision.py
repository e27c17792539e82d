"""Language supervision of SignHiera: CLIP on visible mask units, with masked autoencoding.

SSVP-SLT-LSP (Rust et al. 2024, arXiv:2402.09611). The visible units of a window pass through the
encoder once. Their mean is the embedding of the video, as in FLIP (2212.00794), and the decoder of
`masked_decoder` predicts the hidden ones. The texts pass through a Hugging Face encoder. Two
losses of very different size meet in the encoder, so GradNorm learns their weights.

In validation the embedding is that of all units, which is what extraction gives to a translator; a
clip of several windows gets the mean of their embeddings.

Shapes: B windows, N visible units, D width of the encoder, E width of the embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig, PretrainedModelConfig
from kinesweep.core.collectives import get_rank_and_world_size
from kinesweep.core.scores import RECALL_RANKS
from kinesweep.core.seeds import create_generator, derive_seed
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.features.encoders.signhiera import SignHiera
from kinesweep.models.losses.text_video_contrastive import (
    compute_text_video_losses,
    compute_text_video_share,
    find_equal_texts,
)
from kinesweep.models.pretraining.clip_pooling import number_texts, pool_clips, split_numbers
from kinesweep.models.pretraining.encoded_windows import EncodedWindows, encode_windows
from kinesweep.models.pretraining.gradnorm import GradNorm
from kinesweep.models.pretraining.learned_temperature import LearnedTemperature
from kinesweep.models.pretraining.masked_autoencoder import (
    compute_masked_losses,
    sum_masked_losses,
)
from kinesweep.models.pretraining.masked_decoder import MaskedDecoder
from kinesweep.models.pretraining.objective import ClipSums, LossShare, PretrainingObjective
from kinesweep.models.pretraining.projection import build_projection
from kinesweep.models.pretraining.text_tower import TextTower


@dataclass(frozen=True)
class CaptionInput:
    """How texts reach the text tower.

    Attributes:
        encode: Function from texts to their ids, int64 (B, L), and the mask of the tokens, bool.
        vocabulary: Vocabulary of the ids.
    """

    encode: Callable[[Sequence[str]], tuple[Tensor, Tensor]]
    vocabulary: Vocabulary


class LanguageSupervision(PretrainingObjective):
    """The objective `clip`.

    Args:
        encoder: The video model, whose weights are kept.
        config: The recipe's `objective` section.
        model_config: The recipe's `model` section: stochastic depth, gradient checkpointing.
        captions: Tokenizer of the texts.
        max_steps: Number of steps of the run, for GradNorm's learning rate.
    """

    def __init__(
        self,
        encoder: SignHiera,
        config: ClipConfig,
        model_config: PretrainedModelConfig,
        captions: CaptionInput,
        max_steps: int,
    ) -> None:
        super().__init__()
        self.encoder, self.config, self.model_config = encoder, config, model_config
        self.metric = config.metric
        self.lower_is_better = config.metric.endswith(("_loss", "_rank"))
        self._captions, self._max_steps = captions, max_steps
        self.decoder = None if config.mae is None else MaskedDecoder(encoder.geometry, config.mae)
        self.projection = build_projection(
            config.projection, encoder.geometry.output_width, config.width, "objective.projection"
        )
        self.text = TextTower(config.text, captions.vocabulary, config.width)
        self.temperature = LearnedTemperature(config.temperature, config.max_scale)
        self.gradnorm = None if config.gradnorm is None else GradNorm(config.gradnorm, 2)

    def forward(self, batch: WindowBatch, num_windows: int) -> LossShare:
        """Compute the weighted shares of both losses; updates the weights of GradNorm in training.

        The contrastive loss compares the windows of all workers, so a step must be one batch of
        each worker; the recipe allows no accumulation.

        Args:
            batch: Training windows of this worker.
            num_windows: Number of windows of the whole step, of all workers.
        """
        encoded = self._encode(batch, self.config.mask_ratio)
        texts = [_choose_text(*pair) for pair in zip(batch.texts_B, batch.seeds_B, strict=True)]
        contrastive = compute_text_video_share(
            self._embed_video(encoded),
            self._embed_texts(texts, batch.seeds_B),
            number_texts(texts).to(encoded.pixels_BCFHW.device)[:, None],
            self.temperature(),
        )
        _, world_size = get_rank_and_world_size()
        # Parts are added over workers, and the factor is the same on all of them. Losses are told
        # apart by name from those of validation, which trackers record beside them.
        parts = {
            "train_contrastive_loss": contrastive.detach(),
            "similarity_scale": self.temperature().detach() / world_size,
        }
        if self.config.mae is None:
            return LossShare(contrastive, parts)
        if self.config.mae.mask_ratio != self.config.mask_ratio:
            encoded = self._encode(batch, self.config.mae.mask_ratio)
        masked = self._compute_masked_losses(encoded, self.config.mae).sum() / num_windows
        loss = self._combine(contrastive, masked)
        parts["train_masked_loss"] = masked.detach()
        parts["mae_weight"] = self._get_mae_weight(contrastive.device) / world_size
        return LossShare(loss, parts)

    @torch.no_grad()
    def compute_values(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Compute embeddings of whole windows and of their texts, and the loss of `mae`.

        Returns:
            `video` and `text` (B, E), `text_id` (B, 3), and `masked_loss` (B,) with `mae`.
        """
        # A clip is compared with its first text, as in translation.
        texts = [texts[0] for texts in batch.texts_B]
        values = {
            "video": self._embed_video(self._encode(batch, 0.0)),
            "text": self._embed_texts(texts, batch.seeds_B),
            "text_id": split_numbers(number_texts(texts)),
        }
        if self.config.mae is not None:
            encoded = self._encode(batch, self.config.mae.mask_ratio)
            values["masked_loss"] = self._compute_masked_losses(encoded, self.config.mae)
        return values

    def compute_scores(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, float]:
        """Compute retrieval scores, the contrastive loss of all clips, and the loss of `mae`."""
        clips = pool_clips(values, clip_ids)
        with torch.no_grad():
            # Each worker has all clips here, so nothing is gathered.
            loss = compute_text_video_losses(
                torch.from_numpy(clips.video_NE),
                torch.from_numpy(clips.text_NE),
                find_equal_texts(torch.from_numpy(clips.text_ids_N)[:, None]),
                self.temperature().cpu(),
            ).mean()
        scores = {**clips.rank().compute_scores(), "contrastive_loss": float(loss)}
        if self.decoder is not None:
            losses = values["masked_loss"].tolist()
            scores["masked_loss"] = fsum(losses) / len(losses)
        return scores

    def compute_clip_sums(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, ClipSums]:
        """Compute the recalls of each clip, and the sum of its windows' losses of `mae`."""
        clips = pool_clips(values, clip_ids)
        ranks = clips.rank()
        sums: dict[str, ClipSums] = {
            f"recall_{k}": {
                clip_id: (float(value), 1.0)
                for clip_id, value in zip(clips.clip_ids, ranks.list_recalls(k), strict=True)
            }
            for k in RECALL_RANKS
        }
        if self.decoder is not None:
            sums["masked_loss"] = sum_masked_losses(values["masked_loss"], clip_ids)
        return sums

    def _encode(self, batch: WindowBatch, mask_ratio: float) -> EncodedWindows:
        """Encode the visible mask units of windows under the mask of their seeds."""
        return encode_windows(self.encoder, batch, mask_ratio, self.model_config, self.training)

    def _compute_masked_losses(
        self, encoded: EncodedWindows, config: MaskedAutoencodingConfig
    ) -> Tensor:
        """Compute the loss of `mae` of each window, float32 (B,)."""
        assert self.decoder is not None
        return compute_masked_losses(self.decoder, encoded, config, self.model_config)

    def _embed_video(self, encoded: EncodedWindows) -> Tensor:
        """Embed windows as unit vectors: the mean of their visible units, projected, (B, E)."""
        return functional.normalize(self.projection(encoded.mean_BD).float(), dim=1)

    def _embed_texts(self, texts: Sequence[str], seeds_B: Sequence[int]) -> Tensor:
        """Embed texts as unit vectors, (B, E); dropout depends on the seeds of the windows."""
        device = self.temperature.log_scale.device
        ids_BL, mask_BL = self._captions.encode(texts)
        # Forked and seeded by the windows: a resumed run draws the same noise, and the generator of
        # the process, from which others draw, stays untouched.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(derive_seed("text dropout", *seeds_B))
            embedded: Tensor = self.text(ids_BL.to(device), mask_BL.to(device))
        return embedded

    def _combine(self, contrastive: Tensor, masked: Tensor) -> Tensor:
        """Return the weighted sum of the shares of both losses; GradNorm learns in training."""
        if self.gradnorm is None:
            return contrastive + self._get_mae_weight(contrastive.device) * masked
        loss = self.gradnorm.combine([contrastive, masked])
        # Without gradients there is nothing to balance, and validation must not change weights.
        if self.training and torch.is_grad_enabled():
            self.gradnorm.update([contrastive, masked], self._list_shared(), self._max_steps)
        return loss

    def _list_shared(self) -> list[nn.Parameter]:
        """List the weights whose gradients GradNorm compares."""
        assert self.config.gradnorm is not None
        whole = self.config.gradnorm.shared == "encoder"
        module: nn.Module = self.encoder if whole else self.encoder.blocks[-1]
        return list(module.parameters())

    def _get_mae_weight(self, device: torch.device) -> Tensor:
        """Return the weight of the loss of `mae`, a scalar."""
        if self.gradnorm is not None:
            return self.gradnorm.weights[1].clone()
        fixed = 1.0 if self.config.mae_weight is None else self.config.mae_weight
        return torch.tensor(fixed, device=device)


def _choose_text(texts: Sequence[str], seed: int) -> str:
    """Choose one of a clip's texts from the seed of its window."""
    if len(texts) == 1:
        return texts[0]
    return texts[int(create_generator(seed, "text").integers(len(texts)))]
