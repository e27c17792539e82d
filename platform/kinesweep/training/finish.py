"""The end of a run: best model, full decoding, predictions, result, and nothing else left.

Each step can be done again, and `result.json` comes last; so a run that is killed here does the
whole end once more from its last checkpoint, which is dropped only after the result stands.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kinesweep.batches.text import Text
from kinesweep.core.runlog import RunLog
from kinesweep.models.saving import own_state
from kinesweep.models.translator import Translator
from kinesweep.store.reader import Store
from kinesweep.training.checkpoints import drop_checkpoints, leading_to
from kinesweep.training.cost import decode_ms, num_trained
from kinesweep.training.evaluate import Evaluation, evaluate_loaded
from kinesweep.training.model_folder import read_model_folder, write_model_folder
from kinesweep.training.predictions import write_predictions
from kinesweep.training.progress import Progress
from kinesweep.training.ranks import is_first, on_first
from kinesweep.training.result import RunResult, RunSpec

BEST = "best"


@dataclass(frozen=True)
class Ending:
    """What a run's end needs of its beginning."""

    spec: RunSpec
    store: Store
    text: Text
    device: torch.device
    log: RunLog


def finish_run(ending: Ending, progress: Progress) -> RunResult:
    """Ends a run that trained to its own end; a collective.

    Returns:
        The result, with `seconds` 0; it is not written yet.
    """
    spec = ending.spec
    if spec.recipe.checkpoints.keep == "last":
        progress = replace(progress, best_step=progress.step, best_scores=progress.scores)
    assert progress.best_step is not None
    count = spec.recipe.training.average_checkpoints
    taken = leading_to(spec.folder / "checkpoints", progress.best_step, count)
    best = spec.folder / BEST
    on_first(lambda: write_model_folder(best, taken, ending.text, spec.recipe, ending.store))
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
    """The result as far as training alone knows it."""
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


def tidy(folder: Path) -> None:
    """Drops optimiser state and all checkpoints of a run that has its result."""
    if is_first():
        drop_checkpoints(folder)


def weights_sha256(model: Translator) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors, in the order of names.

    Those of a base count by its own hash.
    """
    base = model.config.base
    digest = hashlib.sha256(b"" if base is None else base["sha256"].encode())
    tensors = model.state_dict() if base is None else own_state(model)
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{plain.dtype}|{tuple(plain.shape)}|".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _keep(ending: Ending, split: str, evaluation: Evaluation, step: int) -> None:
    """Writes the sentences, and the scores under a name that no evaluation of training has."""
    if not is_first():
        return
    path = ending.spec.folder / "predictions" / f"{split}.tsv"
    write_predictions(path, evaluation.predictions)
    named = {f"final_{split}_{name}": score for name, score in evaluation.scores.items()}
    ending.log.metrics(named, step)
    ending.log.artifact(path)
