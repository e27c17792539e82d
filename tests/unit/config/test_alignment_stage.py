"""The stage `align` and the sign contrastive loss in recipes and search spaces."""

from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.scores import is_lower_better
from kinesweep.evaluation.metrics import build_metric
from kinesweep.sweeps.space.directions import find_metric_problems
from kinesweep.sweeps.space.space import SearchSpace

CAUSAL = {"backbone": {"kind": "causal", "scratch": {"architecture": "gpt2"}}}
OWN_ENCODER = {"text_encoder": {"kind": "transformer"}}


def recipe(training: dict[str, Any], **sections: Any) -> Recipe:
    return tiny_recipe(Path("corpus"), Path("stores"), training=training, **sections)


def test_its_own_losses_and_recalls_select_checkpoints() -> None:
    made = recipe({"stage": "align"})
    assert made.training.metric_for_best_model == "contrastive_loss"
    assert made.training.alignment is None and made.training.effective_alignment.restoration
    for name, lower in (("contrastive_loss", True), ("text_to_sign_r10", False)):
        chosen = recipe({"stage": "align", "metric_for_best_model": name})
        assert chosen.evaluation.is_lower_better(name) == is_lower_better(name) == lower
    contrast = {"stage": "align", "sign_contrastive": {}}
    recipe({**contrast, "metric_for_best_model": "sign_contrastive_loss"})
    # Unchanged where the stage is another.
    assert recipe({}).training.metric_for_best_model == "bleu"


@pytest.mark.parametrize(
    ("training", "sections", "words"),
    [
        ({"alignment": {}}, {}, "`alignment` belongs to `stage: align`, but `stage` is `all`"),
        ({"stage": "align", "average_checkpoints": 2}, {}, "`average_checkpoints` must be 1"),
        (
            {"stage": "align", "metric_for_best_model": "bleu"},
            {},
            "`bleu` is not computed in `training.stage: align`; it has contrastive_loss,",
        ),
        (
            {"stage": "align", "metric_for_best_model": "sign_contrastive_loss"},
            {},
            "`sign_contrastive_loss` is not computed",
        ),
        (
            {"stage": "align", "alignment": {"restoration": None}, "metric_for_best_model": "chrf"},
            {},
            "it has contrastive_loss, sign_to_text_r1,",
        ),
        ({"stage": "align"}, {"model": {"freeze": ["encoder"]}}, "remove `encoder` from"),
        ({"stage": "align"}, {"model": CAUSAL}, r"set `text_encoder: \{kind: transformer\}`"),
        (
            {"stage": "align", "alignment": OWN_ENCODER},
            {"model": CAUSAL},
            "set `restoration: null`",
        ),
        (
            {"stage": "align"},
            {"batch": {"tasks": {"reversed": 0.5}}},
            "`batch.tasks.reversed` asks for other answers",
        ),
        (
            {"stage": "align"},
            {"batch": {"reference_choice": "min_loss"}},
            "first, random or each, not min_loss",
        ),
        (
            {"stage": "align"},
            {"evaluation": {"tasks": {"reversed": {}}}},
            "does not write texts yet, but `evaluation.tasks.reversed`",
        ),
        ({"stage": "align", "alignment": {"temperature": 0.005}}, {}, "equal to 0.01, but"),
        ({"stage": "align"}, {"batch": {"batch_size": 1}}, "`batch.batch_size` is 1; set it to 2"),
        (
            {"stage": "align", "alignment": {**OWN_ENCODER, "restoration": None}},
            {"model": {"backbone": {**CAUSAL["backbone"], "lora": {}}, "init_from": "best"}},
            "adapters of `model.backbone.lora` would not change",
        ),
        (
            {
                "stage": "align",
                "alignment": {"restoration": None},
                "learning_rates": {"backbone_decoder": 1e-3},
            },
            {},
            "has `backbone_decoder`, but without `training.alignment.restoration`",
        ),
        ({"sign_contrastive": {"weight": 0}}, {}, "greater than 0|must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    training: dict[str, Any], sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(training, **sections)


def test_what_only_seems_not_to_fit_is_accepted() -> None:
    two_workers = {"batch": {"batch_size": 1}, "resources": {"workers": 2}}
    assert recipe({"stage": "align"}, **two_workers).batch.batch_size == 1
    restored = recipe({"stage": "align", "learning_rates": {"backbone_decoder": 1e-3}})
    assert restored.training.learning_rates == {"backbone_decoder": 1e-3}


def test_hashes_of_recipes_without_it_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are not set are no part of a hash, and set ones are."""
    plain = recipe({})
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "kinesweep.config.recipe.compute_fingerprint", lambda v: seen.append(v) or "0" * 64
    )
    plain.compute_config_hash("store")
    assert not {"alignment", "sign_contrastive"} & seen[0]["recipe"]["training"].keys()
    monkeypatch.undo()
    hashes = {
        made.compute_config_hash("store")
        for made in (
            plain,
            recipe({"sign_contrastive": {}}),
            recipe({"sign_contrastive": {"weight": 0.02}}),
            recipe({"stage": "align"}),
            recipe({"stage": "align", "alignment": {"temperature": 0.1}}),
        )
    }
    assert len(hashes) == 5


def space(**sections: Any) -> SearchSpace:
    plain = {"question": "?", "recipe": "r", "parameters": {"training.learning_rate": LOG}}
    return SearchSpace.model_validate({**plain, **sections})


LOG = {"role": "nuisance", "log": [1e-4, 1e-2]}


def test_a_sweep_over_it_is_ranked_by_its_scores() -> None:
    made = recipe({"stage": "align"})
    good = space(
        metric={"name": "sign_to_text_r1"},
        pruner={"kind": "asha", "metric": "contrastive_loss"},
        sanity_baselines=["shuffled"],
    )
    assert find_metric_problems(good, made.evaluation, made.training) == []
    assert good.objectives[0].direction_sign == 1 and good.pruner.direction_sign == -1
    turned = space(
        metric={"name": "contrastive_loss", "mode": "max"},
        pruner={"metric": "contrastive_loss"},
        sanity_baselines=[],
    )
    problems = dict(find_metric_problems(turned, made.evaluation, made.training))
    assert problems == {"metric.mode": "`contrastive_loss` requires mode `min`"}
    usual = find_metric_problems(space(), made.evaluation, made.training)
    assert [key for key, _ in usual] == ["metric.name", "pruner.metric", "sanity_baselines"]
    # And the other way round: no other stage has its scores.
    other = recipe({})
    assert find_metric_problems(good, other.evaluation, other.training)


def test_its_scores_do_not_follow_from_texts() -> None:
    metric = build_metric("sign_to_text_r1", recipe({}).evaluation)
    with pytest.raises(InputError, match=r"computed by the runs that have it and not from texts"):
        metric({"a": "x"}, {"a": ["x"]})
