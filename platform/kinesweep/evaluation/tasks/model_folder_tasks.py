"""Evaluation of side tasks for a model folder, without scoring its translations."""

from pathlib import Path

import torch

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.evaluation.eval_set import EvalSet
from kinesweep.evaluation.tasks.evaluate_tasks import TaskEvaluation, TaskSet
from kinesweep.store.format.reader import Store


def evaluate_model_tasks(
    folder: Path,
    store: Store,
    split: str,
    generation: GenerationConfig,
    evaluation: EvaluationConfig,
    device: torch.device | str | None = None,
) -> dict[str, TaskEvaluation]:
    """Load a model folder and let the model answer the questions of side tasks about a split.

    Clips are translated only if the model's own translations are the context of questions. This is
    a collective call with the same result on all ranks.

    Args:
        folder: `best` folder of a finished run, or a bundle.
        store: Store with features like those of training.
        split: Name of the split.
        generation: Decoding settings.
        evaluation: Evaluation settings with the tasks.
        device: Device for the model; None: see `Translator.from_pretrained`.

    Returns:
        Task → answers and scores.

    Raises:
        CheckpointError: If `folder` is not a model folder or is damaged.
        InputError: If the clips have too few words for a task, or a prompt cannot be built.
        StoreError: If the store has no such split.
    """
    loaded = read_model_folder(folder, device)
    recipe, model = loaded.recipe, loaded.model
    eval_set = EvalSet(
        store,
        split,
        loaded.tokenizer,
        evaluation,
        recipe.effective_batch,
        prompt_settings=recipe.prompt_settings,
    )
    task_set = TaskSet(evaluation.tasks, eval_set.task_data)
    translations = {}
    # Decoding a split takes minutes, which questions without context do not need.
    if eval_set.task_data.needs_translations:
        translations = decode_batches(
            model, loaded.tokenizer, eval_set.batches, generation.num_beams, generation
        )
    # Answers are decoded with the beams of translations, but without sampling or a least length.
    return task_set.evaluate(model, generation, generation.num_beams, translations)
