"""SSVP-SLT's published values, epochs as steps."""

from pathlib import Path

import pytest

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.models.factory import check_backbone_config

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes"
NAMES = ["ssvp_t5", "ssvp_bart", "ssvp_tarres"]
HOW2SIGN_CLIPS = 31_128


def recipe_of(name: str) -> Recipe:
    recipe = load_config(Recipe, FOLDER / f"{name}.yaml")
    assert (recipe.source.kind, recipe.features.kind) == ("feature_manifest", "precomputed")
    assert recipe.source.splits == {
        split: f"data/how2sign/manifests/{word}_features.tsv"
        for split, word in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    return recipe


@pytest.mark.parametrize(
    ("name", "clips", "lengths", "epochs", "rates", "precision"),
    [
        ("ssvp_t5", (4, 2, 32), (5, 1024, 128), (100, 2, 25), (5e-4, 1e-7), "bf16"),
        ("ssvp_bart", (8, 1, 32), (5, 1024, 128), (100, 2, 25), (5e-4, 1e-7), "bf16"),
        ("ssvp_tarres", (32, 1, 64), (1, 1024, 1024), (200, 10, 80), (1e-3, 1e-4), "bf16"),
    ],
)
def test_published_values(
    name: str,
    clips: tuple[int, int, int],
    lengths: tuple[int, int, int],
    epochs: tuple[int, int, int],
    rates: tuple[float, float],
    precision: str,
) -> None:
    recipe = recipe_of(name)
    batch, training, evaluation = recipe.batch, recipe.training, recipe.evaluation
    accumulated = training.gradient_accumulation_steps
    assert batch.batch_size is not None and batch.max_clip_frames is not None
    validated = evaluation.max_frames / batch.max_clip_frames
    assert (batch.batch_size, accumulated, validated) == clips
    written = recipe.generation.max_new_tokens
    assert (batch.min_clip_frames, batch.max_clip_frames, written) == lengths
    epoch = -(-HOW2SIGN_CLIPS // (batch.batch_size * accumulated))
    assert training.eval_steps == epoch
    total, warm = training.max_steps / epoch, training.warmup_steps / epoch
    assert (total, warm, training.early_stopping_patience) == epochs
    assert training.lr_scheduler_type == "cosine_with_min_lr"
    assert (training.learning_rate, training.lr_scheduler_kwargs["min_lr"]) == rates
    assert training.precision == precision


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}_tiny" for name in NAMES)])
def test_what_all_have_in_common(name: str) -> None:
    recipe = recipe_of(name)
    training, encoder = recipe.training, recipe.model.encoder.model_dump()
    smoothing, decay, clip = 0.2, 0.1, 1.0
    assert training.label_smoothing_factor == smoothing
    assert (training.weight_decay, training.max_grad_norm) == (decay, clip)
    assert (recipe.generation.num_beams, recipe.evaluation.during_training.num_beams) == (5, 5)
    assert recipe.evaluation.during_training.max_clips is None
    assert training.metric_for_best_model == "bleu"
    wanted = {"bleu", "bleu1", "bleu2", "bleu3", "rouge1", "rouge2", "rouge", "meteor", "chrf"}
    assert wanted <= set(recipe.evaluation.metrics)
    assert (encoder["kind"], encoder["gain"], recipe.model.append_eos) == ("linear", True, False)
    off = ("standardize", "norm_in", "norm_out", "velocity", "dropout")
    assert not any(encoder[key] for key in off) and encoder["activation"] == "none"
    check_backbone_config(recipe.model)


def test_backbones() -> None:
    t5, bart, tarres = (recipe_of(name).model.backbone for name in NAMES)
    assert (t5.pretrained, t5.dropout) == ("google/t5-v1_1-base", 0.3)
    assert (bart.pretrained, bart.dropout) == ("facebook/bart-base", 0.3)
    scratch = tarres.scratch or {}
    assert scratch["architecture"] == "tarres"
    layers = (scratch["encoder_layers"], scratch["decoder_layers"])
    assert (*layers, scratch["d_model"], scratch["encoder_ffn_dim"]) == (6, 3, 256, 1024)
    assert {scratch[key] for key in scratch if key.endswith("heads")} == {4}
    assert {scratch[key] for key in scratch if key.endswith("dropout")} == {0.3}
    assert scratch["activation_function"] == "relu"


@pytest.mark.parametrize("name", NAMES)
def test_twins_differ_in_size_alone(name: str) -> None:
    large, tiny = recipe_of(name), recipe_of(f"{name}_tiny")
    assert (tiny.batch, tiny.model.encoder) == (large.batch, large.model.encoder)
    size = {"learning_rate", "warmup_steps", "max_steps", "eval_steps", "precision"}
    size |= {"gradient_accumulation_steps"}
    assert tiny.training.model_dump(exclude=size) == large.training.model_dump(exclude=size)
    assert tiny.evaluation == large.evaluation
    assert tiny.resources.gpus == 0
