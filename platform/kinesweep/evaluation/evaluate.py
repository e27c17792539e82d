"""Evaluation of a model on a split: token loss, decoded sentences and scores.

`evaluate_batches` serves the evaluations during training and the final one; `evaluate_model` is the
same for a model folder. Final decoding always uses float32, whatever the training precision, so an
exported bundle generates exactly the same sentences.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.checkpoints.run_objective import attach_run_objective
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.config.recipe.prompt import ContextConfig
from kinesweep.core.collectives import all_gather, run_on_rank_zero
from kinesweep.core.errors import StoreError
from kinesweep.core.scores import GOLD_CONTEXT
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.evaluation.alignment.evaluate import compute_alignment_scores
from kinesweep.evaluation.decoding import compute_token_scores, decode_batches
from kinesweep.evaluation.eval_set import EvalSet
from kinesweep.evaluation.evaluation_result import Evaluation
from kinesweep.evaluation.metrics import compute_extra_scores
from kinesweep.evaluation.metrics.source_texts import get_source_texts
from kinesweep.evaluation.predictions import Prediction
from kinesweep.evaluation.scoring import compute_scores
from kinesweep.evaluation.tasks.evaluate_tasks import TaskSet
from kinesweep.evaluation.tokenization.coverage import measure_coverage
from kinesweep.evaluation.tokenization.protocol import resolve_evaluation
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store

__all__ = [
    "Evaluation",
    "add_extra_scores",
    "evaluate_batches",
    "evaluate_loaded_model",
    "evaluate_model",
    "evaluate_texts",
]


def evaluate_batches(
    model: Translator, eval_set: EvalSet, generation: GenerationConfig, num_beams: int | None = None
) -> Evaluation:
    """Evaluate a model on prepared batches; a collective call with the same result on all ranks.

    Args:
        model: Translator. It is left in evaluation mode, and `truncation_stats` is reset and counts
            this evaluation.
        eval_set: Batches to evaluate.
        generation: Decoding settings.
        num_beams: Number of beams, if not `generation.num_beams`.

    Returns:
        Scores and predictions over the batches of all ranks, without neural and extra metrics.
    """
    model.eval()
    if model.objective is not None and model.objective.replaces_translation:
        aligned = compute_alignment_scores(model, eval_set)
        counts = _sum_truncation_stats(model)
        return Evaluation(
            aligned.values, {}, aligned.predictions, counts, aligned.clip_scores, is_retrieval=True
        )
    token_scores = compute_token_scores(model, eval_set.batches)
    beams = generation.num_beams if num_beams is None else num_beams
    # `compute_token_scores` truncates the same clips; reset the statistics to count each clip
    # once.
    model.truncation_stats = {}
    hypotheses = decode_batches(model, eval_set.tokenizer, eval_set.batches, beams, generation)
    references_by_id = eval_set.get_references(sorted(hypotheses))
    config = eval_set.config
    scores = compute_scores(
        hypotheses, references_by_id, config.metrics, config.protocol_config, config.wordnet
    )
    return Evaluation(
        scores={**token_scores, **scores.values},
        signatures=scores.signatures,
        predictions=tuple(
            Prediction(i, hypotheses[i], references_by_id[i]) for i in sorted(hypotheses)
        ),
        truncation_counts=_sum_truncation_stats(model),
    )


def _sum_truncation_stats(model: Translator) -> dict[str, int]:
    """Return `Evaluation.truncation_counts`, summed over all ranks; a collective call."""
    counts: dict[str, int] = {}
    for rank_stats in all_gather(model.truncation_stats):
        for name, stats in rank_stats.items():
            for key, count in (("fit_clips", stats.clips), ("fit_vectors", stats.vectors)):
                counts[f"{key}.{name}"] = counts.get(f"{key}.{name}", 0) + count
    return counts


def evaluate_model(
    folder: Path,
    store: Store,
    split: str,
    generation: GenerationConfig | None = None,
    evaluation: EvaluationConfig | None = None,
    device: torch.device | str | None = None,
) -> Evaluation:
    """Load a model folder and evaluate it on a split, with all metrics and tasks requested.

    This is a collective call with the same result on all ranks.

    Args:
        folder: `best` folder of a finished run, or a bundle.
        store: Store with features like those of training.
        split: Name of the split. Clips outside the recipe's length limits are left out, except in
            test.
        generation: Decoding settings; default: those of the recipe.
        evaluation: Evaluation settings; default: those of the recipe.
        device: Device for the model; None: see `Translator.from_pretrained`.

    Raises:
        CheckpointError: If `folder` is not a model folder or is damaged.
        ConfigError: If the recipe in the folder is not valid.
        InputError: If WordNet, predictions or a metric model named in the recipe are missing or
            cannot be read, no clip is within the length limits, or a prompt cannot be built.
        StoreError: If the store has no such split.
    """
    loaded_model = read_model_folder(folder, device)
    attach_run_objective(loaded_model, folder)
    return evaluate_loaded_model(loaded_model, store, split, generation, evaluation)


def evaluate_loaded_model(
    loaded_model: LoadedModel,
    store: Store,
    split: str,
    generation: GenerationConfig | None = None,
    evaluation: EvaluationConfig | None = None,
) -> Evaluation:
    """Evaluate a loaded model on a split, with all metrics and tasks requested.

    This is a collective call with the same result on all ranks.

    Args:
        loaded_model: Model with its tokenizer and recipe.
        store: Store with features like those of training.
        split: Name of the split. Clips outside the recipe's length limits are left out, except in
            test.
        generation: Decoding settings; default: those of the recipe.
        evaluation: Evaluation settings; default: those of the recipe.

    Raises:
        InputError: See `evaluate_model`.
        StoreError: If the store has no such split.
    """
    recipe = loaded_model.recipe
    config = evaluation or recipe.evaluation
    eval_set = EvalSet(
        store,
        split,
        loaded_model.tokenizer,
        config,
        recipe.effective_batch,
        prompt_settings=recipe.prompt_settings,
    )
    generation = generation or recipe.generation
    # Before decoding, so that questions that cannot be asked are reported at once.
    task_set = TaskSet(config.tasks, eval_set.task_data)
    result = evaluate_batches(loaded_model.model, eval_set, generation)
    result = replace(
        result,
        coverage=measure_coverage(
            store.get_records(split), loaded_model.tokenizer, generation.max_new_tokens
        ),
    )
    result = add_extra_scores(
        result, eval_set.config, loaded_model.model.device, eval_set.get_source_texts()
    )
    tasks = task_set.evaluate(
        loaded_model.model, generation, generation.num_beams, result.hypotheses
    )
    return _mark_reference_context(result.with_tasks(tasks), recipe.context)


def evaluate_texts(
    texts: Mapping[str, str],
    store: Store,
    split: str,
    evaluation: EvaluationConfig,
    batch_config: BatchConfig | None = None,
) -> Evaluation:
    """Evaluate texts from another source in the same way as the output of a model.

    Neural and extra metrics, if requested, are computed on the CPU.

    Args:
        texts: Clip id → text, for all clips on which a model would be evaluated.
        store: Store that contains the clips.
        split: Name of the split.
        evaluation: Metrics and scoring protocol.
        batch_config: Batch config, of which only the length limits are used (never for test); None
            for no limits.

    Raises:
        InputError: If no clip is within the limits, clips are missing or unknown, or a file or
            model of a metric is missing or cannot be read.
        StoreError: If the store has no such split.
    """
    if split not in store.splits:
        raise StoreError(f"the store has no split `{split}`; it has {', '.join(store.splits)}")
    # Apply the same limits as for a model, so that both are scored on the same clips.
    records, _ = filter_clips_by_length(store.get_records(split), batch_config, split)
    references_by_id = {record.clip.id: record.clip.texts for record in records}
    evaluation = resolve_evaluation(evaluation, store)
    protocol_config, wordnet = evaluation.protocol_config, evaluation.wordnet
    scores = compute_scores(texts, references_by_id, evaluation.metrics, protocol_config, wordnet)
    predictions = tuple(Prediction(i, texts[i], references_by_id[i]) for i in sorted(texts))
    sources = get_source_texts(evaluation.neural_metrics.comet, [record.clip for record in records])
    return add_extra_scores(
        Evaluation(scores.values, scores.signatures, predictions), evaluation, "cpu", sources
    )


def _mark_reference_context(evaluation: Evaluation, context: ContextConfig) -> Evaluation:
    """Return an evaluation whose signatures say if references served as decoding context.

    Such a context inflates the scores.
    """
    if not context.uses_reference_context:
        return evaluation
    signatures = {
        metric: f"{signature}|{GOLD_CONTEXT}" for metric, signature in evaluation.signatures.items()
    }
    return replace(evaluation, signatures=signatures)


def add_extra_scores(
    evaluation: Evaluation,
    config: EvaluationConfig,
    device: torch.device | str,
    sources: Mapping[str, str],
) -> Evaluation:
    """Return an evaluation with the scores of the neural and extra metrics that a recipe requests.

    This is a collective call if there are such metrics; only rank 0 computes them.

    Args:
        evaluation: Evaluation without these metrics.
        config: Metrics and scoring protocol.
        device: Device for the models of metrics.
        sources: Clip id → source text for COMET.

    Raises:
        InputError: If a metric cannot be computed, see `compute_extra_scores`.
        JudgeError: If a judge cannot be asked or needs more requests than allowed.
        ResourceError: If the environment of COMET cannot be created.
    """
    has_extra = config.neural_metrics.names or config.extra_metrics or config.judges
    # Retrieved texts are other clips' references, which metrics of translations do not suit.
    if evaluation.is_retrieval or not has_extra:
        return evaluation
    hypotheses = evaluation.hypotheses
    references_by_id = {row.clip_id: row.references for row in evaluation.predictions}
    # One copy of the metric's model is enough; the other ranks wait and receive the scores.
    extra_scores = run_on_rank_zero(
        lambda: compute_extra_scores(hypotheses, references_by_id, config, device, sources)
    )
    return replace(
        evaluation,
        scores={**evaluation.scores, **extra_scores.values},
        signatures={**evaluation.signatures, **extra_scores.signatures},
        clip_scores={**evaluation.clip_scores, **extra_scores.clip_scores},
        counts=extra_scores.counts,
    )
