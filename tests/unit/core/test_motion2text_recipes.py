"""Motion2text's published values, epochs as steps, and what its two stages share."""

from pathlib import Path

import pytest

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.models.factory import check_backbone_config

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes"
STAGES = ["pretrain", "boxing"]
CLIPS = {"pretrain": 23_384, "boxing": 109}
"""HumanML3D's training motions, mirrored ones included; two folds of 163."""


def recipe_of(stage: str) -> Recipe:
    return load_config(Recipe, FOLDER / f"motion2text_{stage}.yaml")


@pytest.mark.parametrize(
    ("stage", "clips", "epochs", "between"), [("pretrain", 16, 50, 1), ("boxing", 4, 200, 5)]
)
def test_published_values(stage: str, clips: int, epochs: int, between: int) -> None:
    recipe = recipe_of(stage)
    training = recipe.training
    assert (recipe.batch.batch_size, training.gradient_accumulation_steps) == (clips, 1)
    epoch = -(-CLIPS[stage] // clips)
    assert (training.max_steps, training.eval_steps) == (epochs * epoch, between * epoch)
    assert (training.learning_rate, training.optim) == (1e-4, "adamw_torch_fused")
    assert recipe.model.backbone.pretrained == "google-t5/t5-base"
    encoder = recipe.model.encoder
    assert (encoder.kind, encoder.hops, encoder.kernel, encoder.dropout) == ("stagcn", 3, 9, 0.5)


def test_stages_ask_differently_and_adapt_the_encoder_in_the_second() -> None:
    first, second = map(recipe_of, STAGES)
    assert first.training.warmup_steps == 5000
    assert first.prompt.question == "Motion Description : "
    assert second.prompt.question == "Motion Instruction : "
    assert first.model.encoder.lora is None
    assert second.model.encoder.lora is not None and second.model.encoder.lora.rank == 32
    assert (first.model.init_from, second.model.init_from) == (None, ".kinesweep/stage1")
    assert (first.batch.reference_choice, second.batch.reference_choice) == ("random", "min_loss")


def test_the_second_stage_has_the_model_of_the_first() -> None:
    first, second = (recipe_of(stage).model for stage in STAGES)
    assert first.backbone == second.backbone and first.tokenizer == second.tokenizer
    plain = second.encoder.model_copy(update={"lora": None})
    assert first.encoder == plain
    assert first.reference == second.reference and first.reference is not None
    assert first.reference.mode == "both"


@pytest.mark.parametrize("stage", STAGES)
def test_twins_differ_in_size_alone(stage: str) -> None:
    large, tiny = recipe_of(stage), recipe_of(f"{stage}_tiny")
    assert tiny.source.splits == large.source.splits
    assert (tiny.features, tiny.batch, tiny.prompt) == (large.features, large.batch, large.prompt)
    assert tiny.evaluation == large.evaluation
    assert tiny.model.encoder.kind == large.model.encoder.kind
    size = {"learning_rate", "warmup_steps", "max_steps", "eval_steps"}
    assert tiny.training.model_dump(exclude=size) == large.training.model_dump(exclude=size)
    assert tiny.model.init_from is None and tiny.resources.gpus == 0
    assert recipe_of("pretrain_tiny").model == recipe_of("boxing_tiny").model


@pytest.mark.parametrize("stage", [*STAGES, *(f"{stage}_tiny" for stage in STAGES)])
def test_what_all_have_in_common(stage: str) -> None:
    recipe = recipe_of(stage)
    assert (recipe.source.kind, recipe.features.kind) == ("skeletons", "skeleton")
    assert {"bleu", "bleu1", "rouge", "cider", "meteor"} <= set(recipe.evaluation.metrics)
    assert recipe.training.metric_for_best_model == "cider"
    protocol_config = recipe.evaluation.protocol_config
    assert (protocol_config.case, protocol_config.punctuation) == ("lower", "drop")
    check_backbone_config(recipe.model)
