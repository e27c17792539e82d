"""The parts from which one process of a run trains: tokenizer, model, training data, trainer.

`build_components` builds what every run needs, also one that only writes its untrained model. The
training data and the trainer are built from these components when training begins. Functions take
the sections of the recipe that they read; only `build_components` and `build_trainer`, which
distribute the sections, get the whole recipe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.encoders import reads_statistics
from kinesweep.config.recipe.prompt import PromptConfig, PromptSettings
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.core.collectives import get_rank_and_world_size, run_on_rank_zero
from kinesweep.data.run_length.step_counts import resolve_training
from kinesweep.data.task_sampling import collect_prompt_texts
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.eval_set import EvalSet
from kinesweep.evaluation.evaluate import add_extra_scores, evaluate_batches
from kinesweep.evaluation.tasks.evaluate_tasks import TaskSet
from kinesweep.models.encoders.token_streams import check_shared_vocabularies
from kinesweep.models.factory import build_translator
from kinesweep.models.objectives.selection import attach_objective
from kinesweep.models.streams import find_skeletons
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store
from kinesweep.store.inspect.statistics import compute_frame_statistics
from kinesweep.training.distributed.fsdp import ShardedTrainer
from kinesweep.training.loop.initial_weights import load_initial_tokenizer, load_initial_weights
from kinesweep.training.loop.performance import (
    resolve_precision,
    run_uncompiled,
    set_attention,
)
from kinesweep.training.loop.reference_checks import check_reference_lengths
from kinesweep.training.loop.run_callbacks import RunCallbacks
from kinesweep.training.loop.trainer import TranslatorTrainer
from kinesweep.training.loop.trainer_arguments import build_training_arguments
from kinesweep.training.reproducibility.determinism import configure_process
from kinesweep.training.run_records.metrics import MetricsRecorder
from kinesweep.training.run_records.result import RunSpec


@dataclass(frozen=True)
class RunComponents:
    """The store, tokenizer, model, device and numbers of steps of one process of a run.

    Attributes:
        store: Feature store.
        tokenizer: Tokenizer of the model.
        model: Translator with its initial weights, on its device.
        device: Device of the model.
        training: The `training` section with epochs and ratios resolved to steps.
        num_batch_parts: Number of parts in which each batch is computed.
    """

    store: Store
    tokenizer: TextTokenizer
    model: Translator
    device: torch.device
    training: ResolvedTrainingConfig
    num_batch_parts: int = 1


def build_components(recipe: Recipe, store: Store) -> RunComponents:
    """Configure this process, then build the tokenizer and the model with its initial weights.

    The seeds are set first, so the result depends on the recipe and the store only. In distributed
    training, all ranks must call this function.

    Args:
        recipe: Recipe of the run. All of it is needed, because this function distributes the
            sections to the parts.
        store: Feature store.

    Returns:
        The components; the model is on its device.

    Raises:
        CheckpointError: If `model.init_from` names no model folder, or its tokenizer or weights do
            not fit this run.
        ConfigError: If the recipe in the folder `model.init_from` is not valid.
        InputError: If a clip and its reference motion have different lengths, or an epoch has no
            step.
        ResourceError: If a GPU is requested but none is available, or for fp16 without a GPU.
    """
    # First, because it sets the seeds from which the weights below are drawn.
    device = configure_process(recipe.training, recipe.resources, recipe.performance)
    steps = resolve_training(recipe, store, get_rank_and_world_size()[1])
    training = resolve_precision(steps, device)
    model_config, batch_config = recipe.effective_model, recipe.effective_batch
    tokenizer = _build_run_tokenizer(model_config, recipe.prompt, batch_config, store)
    vocabularies = store.schema.vocabularies
    check_shared_vocabularies(model_config, vocabularies, tokenizer.compute_tokens_sha256)
    # Statistics read the whole training split, so they are computed only if an encoder uses them.
    # Frames have none.
    needs_statistics = any(
        reads_statistics(model_config.get_encoder_config(name))
        for name in store.schema.widths
        if name not in store.schema.frame_sizes
    )
    model = build_translator(
        model_config,
        store.schema.widths,
        tokenizer.vocabulary,
        recipe.training.label_smoothing_factor,
        compute_frame_statistics(store) if needs_statistics else None,
        device,
        skeletons=find_skeletons(model_config, store.schema),
        frame_sizes=store.schema.frame_sizes,
        vocabularies=vocabularies,
    )
    if model_config.reference is not None:
        run_on_rank_zero(
            partial(check_reference_lengths, model_config.reference, batch_config, store)
        )
    if model_config.init_from is not None:
        load_initial_weights(model, Path(model_config.init_from), model_config.init_sha256)
    set_attention(model, recipe.performance.attention)
    attach_objective(model, recipe.training)
    return RunComponents(store, tokenizer, model.to(device), device, training)


def _build_run_tokenizer(
    model_config: ModelConfig, prompt: PromptConfig, batch_config: BatchConfig, store: Store
) -> TextTokenizer:
    """Build the tokenizer of a run, or load that of the earlier stage given by `model.init_from`.

    Args:
        model_config: The `model` section, with the tokenizer and the backbone.
        prompt: The `prompt` section, whose words the tokenizer must know.
        batch_config: The `batch` section, with the tasks and the choice of reference translations.
        store: Feature store; a tokenizer of kind `train` learns from its training texts.
    """
    if model_config.init_from is not None:
        return load_initial_tokenizer(Path(model_config.init_from), model_config.tokenizer, prompt)
    records = store.get_records("train")
    prompt_texts = collect_prompt_texts(prompt, batch_config.tasks, records)
    backbone = model_config.backbone
    uses_all_references = batch_config.reference_choice != "first"
    return build_tokenizer(
        model_config.tokenizer,
        records,
        backbone.pretrained,
        prompt_texts,
        backbone.revision,
        uses_all_references,
    )


def build_train_dataset(
    components: RunComponents,
    batch_config: BatchConfig,
    seed: int,
    corpus_weights: Mapping[str, float],
    prompt_settings: PromptSettings,
    augmentation_pairs: Mapping[str, str],
) -> TrainDataset:
    """Build the training dataset of this rank.

    Args:
        components: Store and tokenizer of the run.
        batch_config: The effective `batch` section.
        seed: Random seed for order, augmentation and tasks.
        corpus_weights: Corpus name → average number of times its clips occur per epoch.
        prompt_settings: Prompt and context settings.
        augmentation_pairs: Reference stream → motion stream whose augmentation it shares.

    Raises:
        InputError: If no training clip is left within the length limits, or clips cannot be used
            as the `batch` section requires.
    """
    rank, world_size = get_rank_and_world_size()
    return TrainDataset(
        components.store,
        components.tokenizer,
        batch_config,
        seed,
        rank,
        world_size,
        weights=corpus_weights,
        prompt_settings=prompt_settings,
        augmentation_pairs=augmentation_pairs,
    )


def build_score_function(
    components: RunComponents,
    evaluation: EvaluationConfig,
    generation: GenerationConfig,
    batch_config: BatchConfig,
    prompt_settings: PromptSettings,
) -> Callable[[Translator], dict[str, float]]:
    """Build the function that scores a model on validation during training.

    The validation batches are planned here, once for all evaluations.

    Args:
        components: Store and tokenizer of the run.
        evaluation: The `evaluation` section; `during_training` sets the clips and the beams.
        generation: The `generation` section.
        batch_config: The effective `batch` section, with the length limits.
        prompt_settings: Prompt and context settings.

    Returns:
        Function from a model to its scores, metric → score, which leaves the model in evaluation
        mode. Neural and extra metrics and tasks are among them as far as the recipe asks for it. A
        collective call: each rank decodes its share of the clips, and all ranks get the
        same scores.

    Raises:
        InputError: If no validation clip is left within the length limits, or WordNet or the
            predictions named in the recipe are missing or cannot be read.
        StoreError: If the store has no validation split.
    """
    during_training = evaluation.during_training
    eval_set = EvalSet(
        components.store,
        "validation",
        components.tokenizer,
        evaluation.select_training_metrics(),
        batch_config,
        max_clips=during_training.max_clips,
        prompt_settings=prompt_settings,
    )

    # Read once: a table of source texts may be large.
    sources = eval_set.get_source_texts()
    task_set = TaskSet(evaluation.training_tasks, eval_set.task_data)

    def compute_scores(model: Translator) -> dict[str, float]:
        """Compute the validation scores of a model; a collective call."""
        num_beams = during_training.num_beams
        result = evaluate_batches(model, eval_set, generation, num_beams)
        tasks = task_set.evaluate(model, generation, num_beams, result.hypotheses)
        result = add_extra_scores(result, eval_set.config, components.device, sources)
        return result.with_tasks(tasks).scores

    return compute_scores


def build_trainer(
    spec: RunSpec,
    components: RunComponents,
    train_dataset: TrainDataset,
    run_callbacks: RunCallbacks,
    recorder: MetricsRecorder | None,
    progress: TrainingProgress,
) -> TranslatorTrainer:
    """Build the trainer of this rank, which shards the model if `training.fsdp` is set.

    Args:
        spec: Specification of the run.
        components: Store, tokenizer, model and device.
        train_dataset: Training data of this rank.
        run_callbacks: Callbacks that receive evaluations and may stop the run.
        recorder: Recorder of metrics; None on ranks other than 0.
        progress: State from which to continue.

    Raises:
        InputError: See `build_score_function`.
        StoreError: See `build_score_function`.
    """
    recipe = spec.recipe
    # `ShardedTrainer` has the same constructor and keeps an additional full copy of the model.
    trainer_class = ShardedTrainer if recipe.training.fsdp else TranslatorTrainer
    return trainer_class(
        components.model,
        build_training_arguments(
            components.training, spec.folder, components.device, log_every_step=spec.trace
        ),
        components.training,
        recipe.checkpoints,
        train_dataset=train_dataset,
        compute_scores=run_uncompiled(
            build_score_function(
                *(components, recipe.evaluation, recipe.generation),
                *(recipe.effective_batch, recipe.prompt_settings),
            ),
            recipe.performance.compile,
        ),
        run_callbacks=run_callbacks,
        recorder=recorder,
        progress=progress,
        lower_is_better=recipe.evaluation.is_lower_better(recipe.training.metric_for_best_model),
        num_batch_parts=components.num_batch_parts,
    )
