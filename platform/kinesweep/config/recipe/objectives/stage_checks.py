"""Checks of `training.stage` against the model and the batches that it trains.

Each raises a `ValueError` with the reason; `Recipe` calls them once all sections are valid.
"""

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.backbone import is_causal
from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.config.recipe.training import TrainingConfig


def check_training_stage(
    training: TrainingConfig,
    model: ModelConfig,
    batch: BatchConfig,
    evaluation: EvaluationConfig,
    resources: ResourcesConfig,
) -> None:
    """Check that the model has the parts that the training stage trains, and does not freeze them.

    Raises:
        ValueError: If the stage `lora` has no adapters, the stages `projectors` and `align` have
            frozen encoders, or model, batches or evaluation do not suit the stage `align`.
    """
    if training.stage == "lora" and model.backbone.lora is None:
        raise ValueError("`training.stage: lora` needs `model.backbone.lora`")
    # An `encoder` in `freeze` covers the projectors, which these stages exist for.
    if training.stage in ("projectors", "align") and "encoder" in model.freeze:
        raise ValueError(
            f"`training.stage: {training.stage}` trains the encoders; remove `encoder` from"
            " `model.freeze`"
        )
    if training.stage == "align":
        _check_text_encoder(training, model)
        _check_targets(batch, evaluation)
        if batch.batch_size == 1 and resources.workers == 1:
            raise ValueError(
                "`training.stage: align` compares the clips of a batch, but `batch.batch_size` is"
                " 1; set it to 2 or more (larger is better)"
            )
        if training.auto_find_batch_size:  # losses of parts do not add up to that of the batch
            raise ValueError(
                "`training.auto_find_batch_size` computes batches in parts, but `training.stage:"
                " align` compares the clips of a whole batch; turn one of them off"
            )


def _check_text_encoder(training: TrainingConfig, model: ModelConfig) -> None:
    """Check that the language model has what the alignment reads and trains.

    Raises:
        ValueError: If a causal backbone lacks an encoder or a decoder that could restore texts.
    """
    # An encoder-decoder has all that the stage can ask for.
    if not is_causal(model.backbone):
        return
    alignment = training.effective_alignment
    if alignment.text_encoder.kind == "backbone":
        raise ValueError(
            "`training.alignment.text_encoder` is the backbone's encoder, which a causal backbone"
            " does not have; set `text_encoder: {kind: transformer}`"
        )
    if alignment.restoration is not None:
        raise ValueError(
            "`training.alignment.restoration` trains the decoder to restore what the encoder reads,"
            " and a causal backbone has neither; set `restoration: null`"
        )
    # Clips are compared before the backbone, so its layers are not computed at all.
    if model.backbone.lora is not None:
        raise ValueError(
            "`training.stage: align` does not train the layers of a causal backbone, so the"
            " adapters of `model.backbone.lora` would not change; leave them to the stage after it"
        )


def _check_targets(batch: BatchConfig, evaluation: EvaluationConfig) -> None:
    """Check that each clip of a batch comes with one text that describes it.

    Raises:
        ValueError: If other tasks than translation are sampled or scored, or each clip has several
            labels.
    """
    # Answers such as `yes` describe no clip, and would be equal for half of a batch.
    tasks = sorted(set(batch.tasks.sampling_probabilities) - {"translation"})
    if tasks:
        raise ValueError(
            f"`training.stage: align` compares clips with their texts, but `batch.tasks.{tasks[0]}`"
            " asks for other answers; set it to 0 in this stage"
        )
    for task in evaluation.tasks:
        raise ValueError(
            "a model of `training.stage: align` does not write texts yet, but"
            f" `evaluation.tasks.{task}` scores its answers; leave it out in this stage"
        )
    if batch.reference_choice == "min_loss":
        raise ValueError(
            "`training.stage: align` compares each clip with one text; set"
            " `batch.reference_choice` to first, random or each, not min_loss"
        )
