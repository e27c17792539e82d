"""The end of a run: best model, full decoding, predictions and result.

Each step can be repeated, and `result.json` is written last. A run that is killed here therefore
repeats the whole end from its last checkpoint, which is removed only after the result was written.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kinesweep.checkpoints.checkpoints import find_last_checkpoints, remove_checkpoints
from kinesweep.checkpoints.model_dir import read_model_folder, write_model_folder
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.core.collectives import is_rank_zero, run_on_rank_zero
from kinesweep.core.run_logger import RunLogger
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.evaluate import Evaluation, evaluate_loaded_model
from kinesweep.evaluation.model_cost import count_trainable_parameters, measure_decode_ms
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.models.checkpoint_io import get_non_base_state_dict
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store
from kinesweep.training.run_records.result import RunResult, RunSpec

BEST_MODEL_DIR = "best"


@dataclass(frozen=True)
class FinalizationContext:
    """The objects of a run that are needed to finish it."""

    spec: RunSpec
    store: Store
    tokenizer: TextTokenizer
    device: torch.device
    log: RunLogger


def finish_run(context: FinalizationContext, progress: TrainingProgress) -> RunResult:
    """Write and evaluate the best model of a trained run; a collective call.

    Args:
        context: Specification, store, tokenizer, device and logger of the run.
        progress: Final state of training.

    Returns:
        The result, with `seconds` set to 0; it is not written yet.
    """
    spec = context.spec
    if spec.recipe.checkpoints.keep == "last":
        # The best checkpoint was not kept, so the last one becomes the result.
        progress = replace(progress, best_step=progress.step, best_scores=progress.scores)
    assert progress.best_step is not None
    count = spec.recipe.training.average_checkpoints
    checkpoints = find_last_checkpoints(spec.folder / "checkpoints", progress.best_step, count)
    best = spec.folder / BEST_MODEL_DIR
    # `run_on_rank_zero` ends with a broadcast, so every rank reads the folder only after it is
    # complete.
    run_on_rank_zero(
        lambda: write_model_folder(best, checkpoints, context.tokenizer, spec.recipe, context.store)
    )
    # Score the files that were written, not the model in memory, so that users get what was scored.
    model_folder = read_model_folder(best, context.device)
    result = build_run_result(spec, progress)
    if spec.full_decoding:
        validation = evaluate_loaded_model(model_folder, context.store, "validation")
        _write_split_outputs(context, "validation", validation, progress.step)
        result = replace(
            result,
            scores=validation.scores,
            signatures=validation.signatures,
            limited=validation.truncation_counts,
        )
    if spec.score_test:
        test = evaluate_loaded_model(model_folder, context.store, "test")
        _write_split_outputs(context, "test", test, progress.step)
        result = replace(result, test=test.scores, signatures=test.signatures)
    costs = {
        "parameters": count_trainable_parameters(model_folder.model),
        "decode_ms": measure_decode_ms(model_folder, context.store),
    }
    return replace(result, weights_sha256=compute_weights_sha256(model_folder.model), costs=costs)


def build_run_result(spec: RunSpec, progress: TrainingProgress) -> RunResult:
    """Build the result of a run from its progress, without final scores and costs."""
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


def remove_run_checkpoints(folder: Path) -> None:
    """Remove the checkpoints and optimizer states of a run whose result has been written."""
    if is_rank_zero():
        remove_checkpoints(folder)


def compute_weights_sha256(model: Translator) -> str:
    """Compute the SHA-256 of the names, types, shapes and bytes of all tensors, sorted by name.

    The weights of a frozen base model are represented by the hash of that model.
    """
    base = model.config.base
    digest = hashlib.sha256(b"" if base is None else base["sha256"].encode())
    tensors = model.state_dict() if base is None else get_non_base_state_dict(model)
    for name, tensor in sorted(tensors.items()):
        cpu_tensor = tensor.detach().cpu().contiguous()
        # Without names, types and shapes, different models could have the same bytes.
        digest.update(f"{name}|{cpu_tensor.dtype}|{tuple(cpu_tensor.shape)}|".encode())
        digest.update(cpu_tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _write_split_outputs(
    context: FinalizationContext, split: str, evaluation: Evaluation, step: int
) -> None:
    """Write the predictions of a split and log its final scores; only on rank 0."""
    if not is_rank_zero():
        return
    path = context.spec.folder / "predictions" / f"{split}.tsv"
    write_predictions(path, evaluation.predictions)
    # The prefix keeps final scores apart from the evaluations during training, which may use fewer
    # beams and clips.
    metrics = {f"final_{split}_{name}": score for name, score in evaluation.scores.items()}
    context.log.log_metrics(metrics, step)
    context.log.log_artifact(path)
