"""CoachMe's published values, by setting, and what its stages share."""

from pathlib import Path

import pytest

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.models.factory import check_backbone_config

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes"
CHOICES = {
    **{"skating": "random", "skating_gt": "random", "skating_error": "random"},
    **{"skating_aligned": "random", "boxing_error": "min_loss", "boxing_aligned": "each"},
}
"""`RandomGT`, `ClosestSimGT` and `PerGT`."""


def recipe_of(name: str) -> Recipe:
    return load_config(Recipe, FOLDER / f"motion2text_{name}.yaml")


@pytest.mark.parametrize("name", CHOICES)
def test_published_values(name: str) -> None:
    recipe, first = recipe_of(name), recipe_of("pretrain_ref")
    training = recipe.training
    assert (training.learning_rate, training.warmup_steps, training.weight_decay) == (
        1e-4,
        5000,
        0.01,
    )
    # CoachMe passes a clip once for each of its six texts, whatever the loss.
    passes = 6 if CHOICES[name] == "min_loss" else 1
    assert (training.num_train_epochs, training.eval_epochs) == (200 * passes, 5 * passes)
    assert (recipe.batch.batch_size, recipe.batch.reference_choice) == (4, CHOICES[name])
    generation = recipe.generation
    assert (generation.num_beams, generation.max_new_tokens, generation.length_penalty) == (
        3,
        160,
        3,
    )
    lora = recipe.model.encoder.lora
    assert lora is not None and (lora.rank, lora.alpha, lora.dropout) == (32, 64, 0.1)
    assert recipe.prompt.question == "Motion Instruction : "
    plain = recipe.model.encoder.model_copy(update={"lora": None})
    assert (plain, recipe.model.backbone) == (first.model.encoder, first.model.backbone)
    reference = recipe.features.reference
    if name == "skating":
        assert reference is None and recipe.model.reference is None
    else:
        assert reference is not None and reference.method == "given"
        assert recipe.model.reference == first.model.reference
    check_backbone_config(recipe.model)


def test_captions_are_compared_with_their_first_frame() -> None:
    first, earlier = recipe_of("pretrain_ref"), recipe_of("pretrain")
    assert first.features.reference is not None
    assert first.features.reference.method == "first_frame"
    assert (first.training.num_train_epochs, first.batch.batch_size) == (50, 16)
    assert (first.batch.reference_choice, first.model.encoder.pooling) == ("each", "time")
    assert first.source == earlier.source and first.model.init_from is None


def test_the_twin_differs_in_size_alone() -> None:
    large, tiny = recipe_of("skating_gt"), recipe_of("skating_tiny")
    assert (tiny.source, tiny.features, tiny.batch) == (large.source, large.features, large.batch)
    assert (tiny.prompt, tiny.evaluation) == (large.prompt, large.evaluation)
    assert tiny.model.reference == large.model.reference and tiny.model.init_from is None
    size = {"learning_rate", "warmup_steps", "max_steps", "eval_steps"}
    size |= {"num_train_epochs", "eval_epochs"}
    assert tiny.training.model_dump(exclude=size) == large.training.model_dump(exclude=size)
