"""Sign_LLaVA's published values, and what its two stages share."""

from pathlib import Path

import pytest

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.models import check_backbone_config

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes"
STAGES = ["pretrain", "finetune", "pretrain_tiny", "finetune_tiny"]


def recipe_of(stage: str) -> Recipe:
    return load_config(Recipe, FOLDER / f"signllava_{stage}.yaml")


@pytest.mark.parametrize(("stage", "rate"), [("pretrain", 2e-3), ("finetune", 2e-5)])
def test_published_values(stage: str, rate: float) -> None:
    recipe = recipe_of(stage)
    training, generation = recipe.training, recipe.generation
    assert training.stage == {"pretrain": "projectors", "finetune": "lora"}[stage]
    assert (training.learning_rate, training.lr_scheduler_type) == (rate, "cosine")
    assert (training.weight_decay, training.label_smoothing_factor) == (0.1, 0.1)
    assert training.activation_checkpointing
    assert (generation.num_beams, generation.max_new_tokens) == (5, 100)
    assert recipe.model.backbone.pretrained == "meta-llama/Meta-Llama-3-8B-Instruct"
    widths = {stream.name: stream.width for stream in recipe.source.streams}
    assert widths == {"pose": 208, "dino": 1152, "mae": 768, "sign2vec": 768}
    assert recipe.prompt.chat


def test_published_adapters() -> None:
    lora = recipe_of("finetune").model.backbone.lora
    assert lora is not None
    assert (lora.rank, lora.alpha, lora.dropout) == (64, 16, 0.05)
    assert (lora.targets, lora.quantize) == ("all-linear", "nf4")
    assert recipe_of("pretrain").model.backbone.lora is None


@pytest.mark.parametrize("stage", STAGES)
def test_what_all_have_in_common(stage: str) -> None:
    recipe = recipe_of(stage)
    check_backbone_config(recipe.effective_model)
    assert recipe.source.splits.keys() == {"train", "validation"}
    encoder = recipe.model.encoder
    assert (encoder.kind, encoder.activation, len(encoder.hidden)) == ("mlp", "gelu", 1)
    assert recipe.model.fusion.separators
    assert (recipe.model.init_from is not None) == stage.startswith("finetune")
    assert recipe.context.is_enabled == stage.startswith("finetune")
    if recipe.context.is_enabled:
        assert recipe.context.decoding_context == "model"


@pytest.mark.parametrize("twin", ["", "_tiny"])
def test_the_second_stage_has_the_model_of_the_first(twin: str) -> None:
    first, second = recipe_of(f"pretrain{twin}"), recipe_of(f"finetune{twin}")
    for part in ("encoder", "fusion", "tokenizer", "reserved_text_tokens"):
        assert getattr(first.model, part) == getattr(second.model, part)
    changed = {"backbone", "init_from"}
    assert first.model.model_dump(exclude=changed) == second.model.model_dump(exclude=changed)
    plain = second.model.backbone.model_copy(update={"lora": None})
    assert first.model.backbone == plain
    assert (first.source, first.batch) == (second.source, second.batch)
