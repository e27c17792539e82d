"""The end of a run: best model, full decoding, predictions and result.

Each step can be repeated, and `result.json` is written last. A run that is killed here therefore
repeats the whole end from its last checkpoint, which is removed only after the result was written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kinesweep.checkpoints.checkpoints import find_last_checkpoints, remove_checkpoints
from kinesweep.checkpoints.model_dir import read_model_folder, write_model_folder
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.checkpoints.run_objective import attach_run_objective, copy_objective
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.collectives import is_rank_zero, run_on_rank_zero
from kinesweep.core.io import write_json
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.scores import check_finite_scores
from kinesweep.data.length_limits import compute_truncation_stats, filter_clips_by_length
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.evaluate import Evaluation, evaluate_loaded_model
from kinesweep.evaluation.judges.summary import summarize_judges
from kinesweep.evaluation.model_cost import (
    count_trainable_parameters,
    measure_decode_ms_per_sentence,
)
from kinesweep.evaluation.predictions import write_clip_scores, write_predictions
from kinesweep.evaluation.tasks.answer_files import write_answers
from kinesweep.models.checkpoint_io import get_non_base_state_dict
from kinesweep.models.objectives.attachment import detach_objective
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store
from kinesweep.training.run_records.result import RunResult, RunSpec

BEST_MODEL_DIR = "best"


@dataclass(frozen=True)
class FinalizationContext:
    """The objects of a run that are needed to finish it.

    Attributes:
        spec: Specification of the run.
        store: Feature store.
        tokenizer: Tokenizer of the run.
        device: Device for the evaluation.
        log: Run logger that receives the final scores.
    """

    spec: RunSpec
    store: Store
    tokenizer: TextTokenizer
    device: torch.device
    log: RunLogger


def finish_run(context: FinalizationContext, progress: TrainingProgress) -> RunResult:
    """Write the best model of a trained run, evaluate it, and return the result; a collective call.

    Validation and test are evaluated as far as the specification requests them; rank 0 writes their
    predictions to files and logs them with the scores. The decoding time is measured on validation.

    Args:
        context: Specification, store, tokenizer, device and logger of the run.
        progress: Final state of training, with a best step.

    Returns:
        The result with scores, costs and the hash of the weights, but with `seconds` set to 0 and
        without `epochs`; it is not written yet.

    Raises:
        InputError: If a prompt cannot be built, or a file or model of a metric cannot be read.
        StoreError: If the store lacks a split that is evaluated.
        TrainingError: If a validation score of the best model is not finite.
    """
    spec = context.spec
    if spec.recipe.checkpoints.keep == "last":
        # The best checkpoint was not kept, so the last one becomes the result.
        progress = replace(progress, best_step=progress.step, best_scores=progress.scores)
    assert progress.best_step is not None
    num_averaged = spec.recipe.training.average_checkpoints
    checkpoint_dirs = find_last_checkpoints(
        spec.folder / "checkpoints", progress.best_step, num_averaged
    )
    best_dir = spec.folder / BEST_MODEL_DIR
    # `run_on_rank_zero` ends with a broadcast, so every rank reads the folder only after it is
    # complete.
    run_on_rank_zero(lambda: _write_best_model(context, best_dir, checkpoint_dirs))
    # Score the files that were written, not the model in memory, so that users get what was scored.
    loaded_model = read_model_folder(best_dir, context.device)
    weights_digest = compute_weights_sha256(loaded_model.model)
    attach_run_objective(loaded_model, best_dir)
    result = build_run_result(spec, progress)
    if spec.full_decoding:
        validation = evaluate_loaded_model(loaded_model, context.store, "validation")
        # Evaluations during training may use a part of validation and another precision, so their
        # scores can be finite although these are not.
        check_finite_scores(validation.scores, f"the best model of the run in `{spec.folder}`")
        _write_split_outputs(context, "validation", validation, progress.step)
        result = replace(
            result,
            scores=validation.scores,
            signatures=validation.signatures,
            limited=validation.truncation_counts,
            tasks=_collect_task_scores("validation", validation),
        )
    if spec.score_test:
        test = evaluate_loaded_model(loaded_model, context.store, "test")
        _write_split_outputs(context, "test", test, progress.step)
        result = replace(result, test=test.scores, test_signatures=test.signatures)
        result = replace(result, tasks=result.tasks | _collect_task_scores("test", test))
    with detach_objective(loaded_model.model):
        costs: dict[str, float] = {"parameters": count_trainable_parameters(loaded_model.model)}
    if spec.recipe.training.stage != "align":
        costs["decode_ms"] = measure_decode_ms_per_sentence(loaded_model, context.store)
    return replace(result, weights_sha256=weights_digest, costs=costs)


def _write_best_model(
    context: FinalizationContext, best_dir: Path, checkpoint_dirs: Sequence[Path]
) -> None:
    """Write the model folder of the best checkpoints, and the weights of its objective beside it.

    Args:
        context: Specification, tokenizer and store of the run.
        best_dir: Model folder.
        checkpoint_dirs: Checkpoints to average, the best one last.
    """
    copy_objective(checkpoint_dirs[-1], best_dir)
    write_model_folder(
        best_dir, checkpoint_dirs, context.tokenizer, context.spec.recipe, context.store
    )


def build_run_result(spec: RunSpec, progress: TrainingProgress) -> RunResult:
    """Build the result of a run from its progress, with scores measured during training.

    Args:
        spec: Specification of the run.
        progress: Final state of training, or its state when the run was stopped.

    Returns:
        The result without final scores, costs, hash of the weights, `epochs` and duration.
    """
    status = {"reported": "stopped", "diverged": "failed"}.get(progress.stop or "", "finished")
    return RunResult(
        status=status,  # type: ignore[arg-type]
        reason=progress.stop or "",
        best_step=progress.best_step,
        step=progress.step,
        samples=progress.samples,
        scores=progress.best_scores,
        search_scores=progress.best_scores,
        weights_sha256="",
        seconds=0.0,
        folder=spec.folder,
    )


def count_limited_clips(store: Store, batch_config: BatchConfig) -> tuple[int, dict[str, int]]:
    """Count the training clips within the length limits, and those excluded or truncated by them.

    Args:
        store: Feature store.
        batch_config: The effective `batch` section, with the length limits.

    Returns:
        Number of training clips within the limits, and the counts of `RunResult.limited` for train:
        excluded clips by reason, and truncated clips and removed frames by feature stream.

    Raises:
        InputError: If no clip is within the limits.
    """
    records, limit_counts = filter_clips_by_length(
        store.get_records("train"), batch_config, "train"
    )
    for name, stats in compute_truncation_stats(records, batch_config).items():
        limit_counts |= {
            f"cut_clips.{name}": stats.num_clips,
            f"cut_frames.{name}": stats.num_frames,
        }
    return len(records), limit_counts


def remove_run_checkpoints(folder: Path) -> None:
    """Remove the checkpoints and optimizer states of a run, on rank 0 only.

    Call this function only after the result has been written; until then, the checkpoints are
    needed to repeat the end of the run.

    Args:
        folder: Run folder.
    """
    if is_rank_zero():
        remove_checkpoints(folder)


def compute_weights_sha256(model: Translator) -> str:
    """Compute the SHA-256 of the names, types, shapes and bytes of all tensors, sorted by name.

    The weights of a frozen base model are represented by the hash of that model.

    Returns:
        The hash as hexadecimal digits.
    """
    base = model.config.base
    # The tensors below omit the base model's weights, so its hash stands in for them.
    digest = hashlib.sha256(b"" if base is None else base["sha256"].encode())
    tensors = model.state_dict() if base is None else get_non_base_state_dict(model)
    for name, tensor in sorted(tensors.items()):
        cpu_tensor = tensor.detach().cpu().contiguous()
        # Without names, types and shapes, different models could have the same bytes.
        digest.update(f"{name}|{cpu_tensor.dtype}|{tuple(cpu_tensor.shape)}|".encode())
        digest.update(cpu_tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _collect_task_scores(
    split: str, evaluation: Evaluation
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return split → side task → scores as plain values; empty without side tasks."""
    tasks = {task: each.scores.to_json() for task, each in evaluation.tasks.items()}
    return {split: tasks} if tasks else {}


def _write_split_outputs(
    context: FinalizationContext, split: str, evaluation: Evaluation, step: int
) -> None:
    """Write the predictions of a split to a file; log this file and the final scores.

    Only rank 0 does this; the other ranks do nothing.

    Args:
        context: Specification and logger of the run.
        split: Name of the split.
        evaluation: Evaluation of the best model on the split.
        step: Last step of the run, with which the scores are logged.
    """
    if not is_rank_zero():
        return
    predictions_path = context.spec.folder / "predictions" / f"{split}.tsv"
    write_predictions(predictions_path, evaluation.predictions)
    write_clip_scores(predictions_path, evaluation.clip_scores)
    for task, task_evaluation in evaluation.tasks.items():
        answers_path = predictions_path.with_name(f"{split}_{task}.tsv")
        write_answers(answers_path, task_evaluation)
        context.log.log_artifact(answers_path)
    if evaluation.counts:
        clips = [record.clip for record in context.store.get_records(split)]
        documents = {clip.id: clip.document or clip.id for clip in clips}
        config = context.spec.recipe.evaluation
        summary = summarize_judges(config, evaluation.clip_scores, evaluation.counts, documents)
        write_json(predictions_path.with_name(f"{split}_judges.json"), summary)
    # The prefix keeps final scores apart from the evaluations during training, which may use fewer
    # beams and clips.
    metrics = {f"final_{split}_{name}": score for name, score in evaluation.scores.items()}
    context.log.log_metrics(metrics, step)
    context.log.log_artifact(predictions_path)
