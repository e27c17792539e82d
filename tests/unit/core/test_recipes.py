"""The recipes that come with the project."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from corpus import tiny_recipe
from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.loading import load_config
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import TokenizerConfig

FOLDER = Path(__file__).parents[3] / "jobs" / "recipes"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_one_and_has_its_files_name(path: Path) -> None:
    kinds = {"motion2text_align": EmbeddingRecipe}
    names = [f"ssvp_{objective}{size}" for objective in ("mae", "clip") for size in ("", "_tiny")]
    kinds |= dict.fromkeys(names, PretrainingRecipe)
    kind = kinds.get(path.stem, Recipe)
    assert load_config(kind, path).name == path.stem


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("how2sign_m2m100", (5e-5, "inverse_sqrt", 8000, 128, 8, 3, 0.0, 0.998, 0.0, 3435, 700)),
        ("phoenix_m2m100", (1e-5, "linear", 500, 128, 8, 3, 0.1, 0.999, 1.0, 42, 300)),
    ],
)
def test_published_values(name: str, values: tuple[object, ...]) -> None:
    recipe = load_config(Recipe, FOLDER / f"{name}.yaml")
    training = recipe.training
    assert values == (
        training.learning_rate,
        training.lr_scheduler_type,
        training.warmup_steps,
        training.eval_steps,
        recipe.batch.batch_size,
        training.gradient_accumulation_steps,
        training.label_smoothing_factor,
        training.adam_beta2,
        training.max_grad_norm,
        training.seed,
        recipe.batch.max_clip_frames,
    )
    assert recipe.model.backbone.pretrained == "facebook/m2m100_418M"


@pytest.mark.parametrize("name", ["how2sign_m2m100", "phoenix_m2m100"])
def test_twins_differ_in_size_alone(name: str) -> None:
    large, tiny = (load_config(Recipe, FOLDER / f"{name}{end}.yaml") for end in ("", "_tiny"))
    assert tiny.source.splits == large.source.splits
    assert (tiny.features, tiny.batch) == (large.features, large.batch)
    assert tiny.model.encoder == large.model.encoder
    assert tiny.model.tokenizer.new_tokens == large.model.tokenizer.new_tokens
    size = {"learning_rate", "warmup_steps", "max_steps", "eval_steps"}
    size |= {"gradient_accumulation_steps"}
    assert tiny.training.model_dump(exclude=size) == large.training.model_dump(exclude=size)
    assert tiny.resources.gpus == 0


def test_the_backbones_place_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINESWEEP_M2M100", "models/mine")
    recipe = load_config(Recipe, FOLDER / "phoenix_m2m100.yaml")
    assert recipe.model.backbone.pretrained == "models/mine"


@pytest.mark.parametrize(
    ("place", "kept"), [("/models/mine", "mine"), ("facebook/m2m100_418M", "facebook/m2m100_418M")]
)
def test_what_is_handed_on_names_no_folder(
    monkeypatch: pytest.MonkeyPatch, place: str, kept: str
) -> None:
    monkeypatch.setenv("KINESWEEP_M2M100", place)
    recipe = load_config(
        Recipe, FOLDER / "phoenix_m2m100.yaml", ["store.root=/big/stores"]
    ).to_portable()
    assert recipe.source.splits == {s: f"{s}.tsv" for s in ("train", "validation", "test")}
    assert (recipe.source.root, recipe.store.root) == (None, None)
    assert recipe.model.backbone.pretrained == kept


@pytest.mark.parametrize("kind", ["pretrained", "train"])
def test_new_tokens_as_list_text_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("__asl__\t1\n\n__en__ 2\n", encoding="utf-8")
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(TokenizerConfig)
    for given in (["__asl__", "__en__"], "__asl__, __en__", "words.txt"):
        found = adapter.validate_python({"kind": kind, "new_tokens": given})
        assert found.new_tokens == ("__asl__", "__en__")
    for lost in ("wrods.txt", "here/words"):
        with pytest.raises(ValidationError, match="no such file"):
            adapter.validate_python({"kind": kind, "new_tokens": lost})


@pytest.mark.parametrize(
    ("crops", "poses", "text"),
    [
        (["face"], None, "belong together"),
        (["whole"], "poses", "belong together"),
        (["face", "face"], "poses", "lists a crop twice"),
        ([], "poses", "at least 1 item"),
        (["face", "whole"], "poses", ""),
    ],
)
def test_crops_and_poses_belong_together(
    tmp_path: Path, crops: list[str], poses: str | None, text: str
) -> None:
    plain = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    plain["source"] = {"kind": "video_tsv", "train": "train.tsv", "poses": poses}
    encoder = {"kind": "hf_vision", "pretrained": "any"}
    plain["features"] = {"kind": "video", "encoder": encoder, "crops": crops}
    if text:
        with pytest.raises(ValidationError, match=text):
            Recipe.model_validate(plain)
        return
    resolved = Recipe.model_validate(plain).resolve_paths(tmp_path)
    assert resolved.corpora[0].poses == str(tmp_path / "poses")  # type: ignore[union-attr]
