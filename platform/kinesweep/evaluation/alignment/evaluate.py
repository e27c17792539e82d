"""Evaluation of a model in the stage `align`: losses, and retrieval over a whole split.

All clips of the split form one batch for the contrastive loss and the retrieval, so neither depends
on the batches or on the number of workers. Every score is the mean over clips, so sweeps can rank
configurations by it. Memory grows with G²: 10,000 clips take 0.8 GB.

Shapes: G clips of the split, P width of the comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from kinesweep.core.batch import Batch
from kinesweep.core.collectives import all_gather
from kinesweep.core.scores import RECALL_RANKS
from kinesweep.evaluation.eval_set import EvalSet
from kinesweep.evaluation.predictions import Prediction
from kinesweep.models.losses.text_video_contrastive import compute_text_video_losses
from kinesweep.models.objectives.alignment import AlignmentObjective
from kinesweep.models.retrieval.recall import compute_chance_level, compute_ranks
from kinesweep.models.translator import Translator


@dataclass(frozen=True)
class AlignmentScores:
    """The scores of a split in the stage `align`.

    Attributes:
        values: Score → mean over clips; recalls, and the recalls of a random order (`chance_r1`,
            …), in percent.
        clip_scores: Score → clip id → score of the clip; recalls are 0 or 100.
        predictions: Text that each clip retrieves, in the order of sorted clip ids.
    """

    values: dict[str, float]
    clip_scores: dict[str, dict[str, float]]
    predictions: tuple[Prediction, ...]


class _ClipFeatures(NamedTuple):
    """The features and losses of one clip.

    Attributes:
        sign_P: Projected features of the clip.
        text_P: Projected features of its text.
        losses: Name of a loss that needs no other clip → its value.
    """

    sign_P: NDArray[np.float32]
    text_P: NDArray[np.float32]
    losses: dict[str, float]


def compute_alignment_scores(model: Translator, eval_set: EvalSet) -> AlignmentScores:
    """Compute the losses and the retrieval of a split; a collective call.

    Args:
        model: Translator in evaluation mode, with its alignment objective.
        eval_set: Batches of this rank. Clips with the same first reference have equal texts.

    Returns:
        Scores over the batches of all ranks, the same on every rank.
    """
    objective = model.objective
    assert isinstance(objective, AlignmentObjective)
    features: dict[str, _ClipFeatures] = {}
    for rank_features in all_gather(_compute_features(model, objective, eval_set.batches)):
        features |= rank_features
    # A fixed order: sums of floating-point numbers depend on it.
    clip_ids = sorted(features)
    # In float64, so that the rounding of similarities decides no rank.
    sign_GP = torch.from_numpy(np.stack([features[i].sign_P for i in clip_ids])).double()
    text_GP = torch.from_numpy(np.stack([features[i].text_P for i in clip_ids])).double()
    references = eval_set.get_references(clip_ids)
    first_texts = np.array([next(iter(references[i]), "") for i in clip_ids])
    equal_GG = first_texts[:, None] == first_texts[None]
    scale = float(objective.scale.detach())
    loss_G = compute_text_video_losses(sign_GP, text_GP, torch.from_numpy(equal_GG), scale)
    similarity_GG = (functional.normalize(sign_GP) @ functional.normalize(text_GP).T).numpy()
    scores_G: dict[str, Any] = {"contrastive_loss": loss_G.numpy()}
    for name in features[clip_ids[0]].losses:
        scores_G[name] = np.array([features[i].losses[name] for i in clip_ids])
    for way, found_GG in (("sign_to_text", similarity_GG), ("text_to_sign", similarity_GG.T)):
        ranks_G = compute_ranks(found_GG, equal_GG)
        scores_G |= {f"{way}_r{k}": 100.0 * (ranks_G <= k) for k in RECALL_RANKS}
    chance = {f"chance_r{k}": 100 * compute_chance_level(equal_GG, k) for k in RECALL_RANKS}
    # The retrieved text stands in for a translation in files of predictions.
    best_G = similarity_GG.argmax(axis=1)
    return AlignmentScores(
        {name: float(values_G.mean()) for name, values_G in scores_G.items()} | chance,
        {
            name: dict(zip(clip_ids, values_G.tolist(), strict=True))
            for name, values_G in scores_G.items()
        },
        tuple(
            Prediction(clip_id, str(first_texts[best]), references[clip_id])
            for clip_id, best in zip(clip_ids, best_G, strict=True)
        ),
    )


def _compute_features(
    model: Translator, objective: AlignmentObjective, batches: Sequence[Batch]
) -> dict[str, _ClipFeatures]:
    """Compute clip id → features and losses, for the batches of this rank."""
    features = {}
    for batch in batches:
        found = objective.compute_features(model, batch.to(model.device).get_forward_kwargs())
        losses = {
            name: values_B.tolist()
            for name, values_B in (
                ("restoration_loss", found.restoration_B),
                ("sign_contrastive_loss", found.sign_contrast_B),
            )
            if values_B is not None
        }
        for row, clip_id in enumerate(batch.clip_ids):
            features[clip_id] = _ClipFeatures(
                found.sign_BP[row].numpy(),
                found.text_BP[row].numpy(),
                {name: values[row] for name, values in losses.items()},
            )
    return features
