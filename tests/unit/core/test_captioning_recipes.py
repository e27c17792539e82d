"""The recipes of motion captioning differ where their corpora do, and their search space fits."""

from pathlib import Path

import pytest

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.skeleton.skeleton import SKELETONS
from kinesweep.models.factory import check_backbone_config
from kinesweep.sources.prepare.motions import MOTION_CORPORA
from kinesweep.sweeps.space.loading import load_space

ROOT = Path(__file__).parents[3]
SCORES = ["bleu_1", "bleu_4", "rouge_l", "caption_cider"]
SCORES += ["tm2t_bleu_1", "tm2t_bleu_4", "tm2t_rouge_l", "tm2t_cider"]


def read(name: str) -> Recipe:
    return load_config(Recipe, ROOT / "jobs/recipes" / f"{name}.yaml")


@pytest.mark.parametrize("name", ["humanml3d", "kit_ml"])
def test_a_recipe_reads_what_prepare_describes(name: str) -> None:
    source, corpus = read(name).corpora[0], MOTION_CORPORA[name]
    assert (source.kind, source.skeleton, source.fps) == ("skeletons", corpus.skeleton, corpus.fps)
    assert SKELETONS[corpus.skeleton].num_points == corpus.num_points
    assert corpus.num_features == 12 * corpus.num_points - 1
    assert source.motions == f"data/{name}/new_joints"


def test_what_the_recipes_have_in_common() -> None:
    large, kit, tiny = map(read, ("humanml3d", "kit_ml", "humanml3d_tiny"))
    assert large.model == kit.model and large.batch == kit.batch == tiny.batch
    assert large.evaluation == kit.evaluation == tiny.evaluation
    assert (large.features, large.source.splits) == (tiny.features, tiny.source.splits)
    assert (large.features.scale, kit.features.scale) == ("none", "bone")
    assert large.batch.reference_choice == "random"
    assert [metric.score_name for metric in large.evaluation.extra_metrics] == SCORES
    assert large.training.metric_for_best_model == "caption_cider"
    assert large.evaluation.protocol == "raw"
    for recipe, clips in ((large, 23_384), (kit, 4_888)):
        epoch = -(-clips // 32)
        assert recipe.training.max_steps == 50 * epoch and recipe.training.eval_steps == 2 * epoch
    check_backbone_config(tiny.model)


def test_the_search_space_asks_for_a_score_of_its_recipe() -> None:
    space, recipe = load_space(ROOT / "search_spaces/motion_captioning.yaml", [], ROOT)
    assert recipe.name == "humanml3d_tiny"
    assert space.objectives[0].name in recipe.evaluation.training_metrics
