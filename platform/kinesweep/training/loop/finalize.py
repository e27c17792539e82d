"""The end of a run: best model, full decoding, predictions and result.

Each step can be repeated, and `result.json` is written last. A run that is killed here therefore
repeats the whole end from its last checkpoint, which is removed only after the result was written.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kinesweep.checkpoints.checkpoints import drop_checkpoints, leading_to
from kinesweep.checkpoints.model_dir import read_model_folder, write_model_folder
from kinesweep.checkpoints.progress import Progress
from kinesweep.core.collectives import is_rank_zero, run_on_rank_zero
from kinesweep.core.run_logger import RunLogger
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.evaluate import Evaluation, evaluate_loaded
from kinesweep.evaluation.model_cost import decode_ms, num_trained
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.models.checkpoint_io import non_base_state_dict
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store
from kinesweep.training.run_records.result import RunResult, RunSpec

BEST = "best"


@dataclass(frozen=True)
class RunEnding:
    """The objects from the start of a run that its end needs."""

    spec: RunSpec
    store: Store
    text: TextTokenizer
    device: torch.device
    log: RunLogger


def finish_run(ending: RunEnding, progress: Progress) -> RunResult:
    """Complete a run whose training has ended; a collective call.

    Args:
        ending: Objects from the start of the run.
        progress: Final state of training.

    Returns:
        The result, with `seconds` set to 0; it is not written yet.
    """
    spec = ending.spec
    if spec.recipe.checkpoints.keep == "last":
        # The best checkpoint was not kept, so the last one becomes the result.
        progress = replace(progress, best_step=progress.step, best_scores=progress.scores)
    assert progress.best_step is not None
    count = spec.recipe.training.average_checkpoints
    taken = leading_to(spec.folder / "checkpoints", progress.best_step, count)
    best = spec.folder / BEST
    # `run_on_rank_zero` ends with a broadcast, so every rank reads the folder only after it is
    # complete.
    run_on_rank_zero(
        lambda: write_model_folder(best, taken, ending.text, spec.recipe, ending.store)
    )
    # Score the files that were written, not the model in memory, so that users get what was scored.
    loaded = read_model_folder(best, ending.device)
    result = result_of(spec, progress)
    if spec.full_decoding:
        full = evaluate_loaded(loaded, ending.store, "validation")
        _keep(ending, "validation", full, progress.step)
        result = replace(result, scores=full.scores, signatures=full.signatures, limited=full.cut)
    if spec.score_test:
        test = evaluate_loaded(loaded, ending.store, "test")
        _keep(ending, "test", test, progress.step)
        result = replace(result, test=test.scores, signatures=test.signatures)
    costs = {"parameters": num_trained(loaded.model), "decode_ms": decode_ms(loaded, ending.store)}
    return replace(result, weights_sha256=weights_sha256(loaded.model), costs=costs)


def result_of(spec: RunSpec, progress: Progress) -> RunResult:
    """Return the result as far as training alone determines it."""
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


def remove_temporary_files(folder: Path) -> None:
    """Remove the checkpoints, with their optimizer state, of a run that has its result."""
    if is_rank_zero():
        drop_checkpoints(folder)


def weights_sha256(model: Translator) -> str:
    """Hash the names, types, shapes and bytes of all tensors, sorted by name.

    The weights of a frozen base model are represented by the hash of that model.
    """
    base = model.config.base
    digest = hashlib.sha256(b"" if base is None else base["sha256"].encode())
    tensors = model.state_dict() if base is None else non_base_state_dict(model)
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        # Without names, types and shapes, different models could have the same bytes.
        digest.update(f"{name}|{plain.dtype}|{tuple(plain.shape)}|".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _keep(ending: RunEnding, split: str, evaluation: Evaluation, step: int) -> None:
    """Write the predictions and log the final scores of a split."""
    if not is_rank_zero():
        return
    path = ending.spec.folder / "predictions" / f"{split}.tsv"
    write_predictions(path, evaluation.predictions)
    # The prefix keeps final scores apart from the evaluations during training, which may use fewer
    # beams and clips.
    named = {f"final_{split}_{name}": score for name, score in evaluation.scores.items()}
    ending.log.metrics(named, step)
    ending.log.artifact(path)
