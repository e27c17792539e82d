"""The parts of a pretraining run: windows of this worker, evaluator, objective and schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.collectives import get_rank_and_world_size
from kinesweep.core.seeds import seed_everything
from kinesweep.data.windows.captions import CaptionTokenizer
from kinesweep.data.windows.window_dataset import WindowDataset
from kinesweep.data.windows.window_plan import (
    PlannedWindow,
    TrainingWindowPlan,
    plan_validation_windows,
    select_records,
)
from kinesweep.models.pretraining.factory import (
    build_objective,
    check_window_size,
    find_geometry,
)
from kinesweep.models.pretraining.language_supervision import CaptionInput
from kinesweep.models.pretraining.objective import PretrainingObjective
from kinesweep.store.format.reader import Store
from kinesweep.training.pretraining.captions import build_captions, count_limited
from kinesweep.training.pretraining.evaluation import PretrainingEvaluator
from kinesweep.training.pretraining.loop_inputs import TrainingData
from kinesweep.training.pretraining.precision import Precision
from kinesweep.training.pretraining.schedule import PretrainingSchedule, resolve_schedule
from kinesweep.training.reproducibility.determinism import configure_determinism


@dataclass(frozen=True)
class PretrainingComponents:
    """The parts of a run on this worker.

    Attributes:
        objective: Objective on its device.
        precision: Numeric precision, with the device.
        schedule: Numbers of steps and learning rates.
        data: Training windows of this worker.
        evaluator: Evaluator on the validation windows.
        captions: Tokenizer of the texts; None for an objective without texts.
        limited: Effects of length limits on the training clips; see `captions.count_limited`.
    """

    objective: PretrainingObjective
    precision: Precision
    schedule: PretrainingSchedule
    data: TrainingData
    evaluator: PretrainingEvaluator
    captions: CaptionTokenizer | None
    limited: dict[str, int]


def build_pretraining_components(recipe: PretrainingRecipe, store: Store) -> PretrainingComponents:
    """Set up this process and build the parts of a run.

    Args:
        recipe: Configuration; nearly all sections are used.
        store: Feature store with decoded frames.

    Raises:
        CheckpointError: If `model.init_from` cannot be used.
        ConfigError: If the sizes of the model cannot be used.
        InputError: If no clip is long enough, windows or frames do not fit the model, or a clip
            lacks a text that the objective needs.
        ResourceError: If a requested GPU is not available, or for fp16 without one.
        StoreError: If the store has no validation split.
    """
    stream, resources, batch = recipe.features.stream, recipe.resources, recipe.batch
    device = configure_determinism(recipe.training.seed, resources.cpus, resources.gpus)
    precision = Precision(recipe.training.precision, device)
    geometry = find_geometry(recipe.model)
    check_window_size(geometry, batch.num_frames, recipe.features.size)
    records = select_records(store, "train", stream, batch)
    validation_records = select_records(store, "validation", stream, batch)
    plan = TrainingWindowPlan(records, stream, batch, recipe.training.seed)
    _, world_size = get_rank_and_world_size()
    accumulated = recipe.training.gradient_accumulation_steps
    schedule = resolve_schedule(
        recipe.training, batch.windows * accumulated * world_size, plan.windows_per_epoch
    )
    captions = build_captions(recipe.objective, records, validation_records)
    # Seeded again, because weights are drawn from the generator of the process.
    seed_everything(recipe.training.seed)
    objective = build_objective(
        recipe.objective,
        recipe.model,
        None if captions is None else CaptionInput(captions, captions.vocabulary),
        schedule.max_steps,
    ).to(device)
    train_dataset = WindowDataset(
        store,
        stream,
        geometry.size,
        partial(list_training_windows, plan, *get_rank_and_world_size()),
        batch.augmentation,
    )
    validation_windows = plan_validation_windows(validation_records, stream, batch)
    chunks = [
        validation_windows[first : first + batch.windows]
        for first in range(0, len(validation_windows), batch.windows)
    ]
    # Without augmentation, so that scores of different steps can be compared.
    validation_dataset = WindowDataset(store, stream, geometry.size, chunks.__getitem__, None)
    return PretrainingComponents(
        objective,
        precision,
        schedule,
        TrainingData(train_dataset, batch.loader_workers),
        PretrainingEvaluator(validation_dataset, len(chunks), batch.loader_workers, precision),
        captions,
        count_limited(len(store.get_records("train")), records, captions),
    )


def list_training_windows(
    plan: TrainingWindowPlan, rank: int, world_size: int, position: int
) -> Sequence[PlannedWindow]:
    """List the windows of a batch of one worker.

    The batches of all workers at one position follow each other in the sequence of windows, so a
    step of two workers has the windows of a step of one worker with twice as many.

    Args:
        plan: The sequence of training windows.
        rank: Rank of the worker.
        world_size: Number of workers.
        position: Position of the batch.
    """
    first = (position * world_size + rank) * plan.batch.windows
    return [plan.get_window(index) for index in range(first, first + plan.batch.windows)]


def count_parameters(module: torch.nn.Module) -> int:
    """Count the trained parameters of a module."""
    return sum(value.numel() for value in module.parameters() if value.requires_grad)
