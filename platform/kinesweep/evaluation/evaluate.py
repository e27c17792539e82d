"""Evaluation of a model on a split: token loss, decoded sentences and scores.

`evaluate_batches` serves the evaluations during training and the final one; `evaluate_model` is the
same for a model folder. Final decoding always uses float32, whatever the training precision, so an
exported bundle generates exactly the same sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from kinesweep.checkpoints.model_dir import ModelFolder, read_model_folder
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig, LearnedConfig
from kinesweep.config.recipe.prompt import ContextConfig, PromptSettings
from kinesweep.config.recipe.training import GenerationConfig
from kinesweep.core.collectives import gather, rank_and_world, run_on_rank_zero
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.scores import GOLD_CONTEXT
from kinesweep.data.evaluation import FixedBatches, eval_batches, references
from kinesweep.data.length_limits import filter_by_length
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.decoding import decode, token_scores
from kinesweep.evaluation.neural_metrics import learned_scores
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.evaluation.scoring import score
from kinesweep.evaluation.wordnet import check_metrics
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a split.

    Attributes:
        scores: `token_loss` (unsmoothed, nats per token), `token_accuracy` (percent) and the
            metrics.
        signatures: Metric → signature of its computation.
        predictions: Predictions in the order of sorted clip ids.
        cut: Truncation of streams that did not fit into the language model's positions: number of
            clips (`fit_clips.<stream>`) and of vectors removed (`fit_vectors.<stream>`).
    """

    scores: dict[str, float]
    signatures: dict[str, str]
    predictions: tuple[Prediction, ...]
    cut: dict[str, int] = field(default_factory=dict)


class EvalSet:
    """The batches of a split that one rank evaluates, planned once and reused.

    Args:
        store: Feature store.
        split: Name of the split.
        text: Tokenizer.
        config: Frames per batch, scoring protocol and metrics.
        limits: Length limits that exclude clips of validation (never of test).
        max_clips: Maximum number of clips over all ranks; None for all.
        prompt_settings: Prompt text around the frames and context sentences before them.

    Raises:
        InputError: If the WordNet folder or the predictions named in the recipe are missing.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        text: TextTokenizer,
        config: EvaluationConfig,
        limits: BatchConfig | None = None,
        max_clips: int | None = None,
        prompt_settings: PromptSettings = PromptSettings(),
    ) -> None:
        check_metrics(config)
        rank, world = rank_and_world()
        self.batches: FixedBatches = eval_batches(
            store,
            split,
            text,
            config.max_frames,
            max_clips,
            limits,
            rank,
            world,
            replace(prompt_settings, prepared=prepared_sentences(prompt_settings.context, split)),
        )
        self.text = text
        self.config = config
        self._store, self._split = store, split

    def references(self, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the reference sentences of each clip."""
        return references(self._store, self._split, clip_ids)


def evaluate_batches(
    model: Translator, data: EvalSet, generation: GenerationConfig, num_beams: int | None = None
) -> Evaluation:
    """Evaluate a model; a collective call that returns the complete result on all ranks.

    Args:
        model: Translator; left in evaluation mode.
        data: Batches to evaluate.
        generation: Decoding settings.
        num_beams: Number of beams, if not `generation.num_beams`.
    """
    model.eval()
    tokens = token_scores(model, data.batches)
    beams = generation.num_beams if num_beams is None else num_beams
    # `token_scores` truncates the same clips; reset the statistics to count each of them once.
    model.truncation_stats = {}
    lines = decode(model, data.text, data.batches, beams, generation)
    wanted = data.references(sorted(lines))
    config = data.config
    scores = score(lines, wanted, config.metrics, config.protocol_config, config.wordnet)
    return Evaluation(
        scores={**tokens, **scores.values},
        signatures=scores.signatures,
        predictions=tuple(Prediction(i, lines[i], wanted[i]) for i in sorted(lines)),
        cut=_cut(model),
    )


def _cut(model: Translator) -> dict[str, int]:
    """Sum the truncation statistics over all ranks, by stream; a collective call."""
    found: dict[str, int] = {}
    for part in gather(model.truncation_stats):
        for name, cut in part.items():
            for key, count in (("fit_clips", cut.clips), ("fit_vectors", cut.vectors)):
                found[f"{key}.{name}"] = found.get(f"{key}.{name}", 0) + count
    return found


def evaluate_model(
    folder: Path,
    store: Store,
    split: str,
    generation: GenerationConfig | None = None,
    evaluation: EvaluationConfig | None = None,
    device: torch.device | str | None = None,
) -> Evaluation:
    """Evaluate a model folder on a whole split.

    Args:
        folder: `best` folder of a finished run, or a bundle.
        store: Store with features like those of training.
        split: Name of the split. The recipe's length limits apply to validation but never to test.
        generation: Decoding settings; default: those of the recipe.
        evaluation: Evaluation settings; default: those of the recipe.
        device: Device for the model; None: see `Translator.from_pretrained`.

    Raises:
        CheckpointError: If `folder` is not a model folder or is damaged.
        InputError: If the WordNet folder named in the recipe is missing.
        StoreError: If the store has no such split.
    """
    loaded = read_model_folder(folder, device)
    return evaluate_loaded(loaded, store, split, generation, evaluation)


def evaluate_loaded(
    loaded: ModelFolder,
    store: Store,
    split: str,
    generation: GenerationConfig | None = None,
    evaluation: EvaluationConfig | None = None,
) -> Evaluation:
    """Evaluate a model folder that is already loaded; see `evaluate_model`."""
    recipe = loaded.recipe
    config = evaluation or recipe.evaluation
    data = EvalSet(
        store,
        split,
        loaded.text,
        config,
        recipe.effective_batch,
        prompt_settings=recipe.prompt_settings,
    )
    found = evaluate_batches(loaded.model, data, generation or recipe.generation)
    return _told(_with_learned(found, config, loaded.model.device), recipe.context)


def evaluate_texts(
    texts: Mapping[str, str],
    store: Store,
    split: str,
    evaluation: EvaluationConfig,
    limits: BatchConfig | None = None,
) -> Evaluation:
    """Evaluate texts from another source in the same way as the output of a model.

    Args:
        texts: Clip id → text, for all clips on which a model would be evaluated.
        store: Store that contains the clips.
        split: Name of the split.
        evaluation: Metrics and scoring protocol.
        limits: Length limits that exclude clips of validation.

    Raises:
        InputError: If clips are missing or unknown.
        StoreError: If the store has no such split.
    """
    if split not in store.splits:
        raise StoreError(f"the store has no split `{split}`; it has {', '.join(store.splits)}")
    # Apply the same limits as for a model, so that both are scored on the same clips.
    records, _ = filter_by_length(store.records(split), limits, split)
    wanted = {record.clip.id: record.clip.texts for record in records}
    protocol_config, wordnet = evaluation.protocol_config, evaluation.wordnet
    scores = score(texts, wanted, evaluation.metrics, protocol_config, wordnet)
    lines = tuple(Prediction(i, texts[i], wanted[i]) for i in sorted(texts))
    return _with_learned(Evaluation(scores.values, scores.signatures, lines), evaluation, "cpu")


def prepared_sentences(context: ContextConfig, split: str) -> dict[str, str]:
    """Return the prepared context sentences of an earlier run; empty if the recipe uses none.

    Returns:
        Clip id → sentence.

    Raises:
        InputError: If the recipe names no predictions for this split.
    """
    if context.decoding_context != "file" or not context.is_used:
        return {}
    path = {str(name): path for name, path in context.predictions.items()}.get(split)
    if path is None:
        raise InputError(
            f"`context.predictions` has no predictions for the split `{split}`; it has"
            f" {', '.join(context.predictions)}. Add them, or change `context.decoding_context`."
        )
    return {line.clip_id: line.hypothesis for line in read_predictions(Path(path))}


def _told(found: Evaluation, context: ContextConfig) -> Evaluation:
    """Mark the signatures if references served as context, which inflates the scores."""
    if not context.reads_references:
        return found
    told = {metric: f"{how}|{GOLD_CONTEXT}" for metric, how in found.signatures.items()}
    return replace(found, signatures=told)


def _with_learned(
    found: Evaluation, config: EvaluationConfig, device: torch.device | str
) -> Evaluation:
    """Add the scores of neural metrics if the recipe requests them; only rank 0 computes them."""
    if config.neural_metrics == LearnedConfig():
        return found
    said = {line.clip_id: line.hypothesis for line in found.predictions}
    wanted = {line.clip_id: line.references for line in found.predictions}
    # One copy of the metric's model is enough; the other ranks wait and receive the scores.
    more = run_on_rank_zero(lambda: learned_scores(said, wanted, config, device))
    return replace(
        found,
        scores={**found.scores, **more.values},
        signatures={**found.signatures, **more.signatures},
    )
