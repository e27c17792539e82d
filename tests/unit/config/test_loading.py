"""Configuration: every problem at once, at its dotted path, with the near miss named."""

from pathlib import Path

import pytest
import yaml

from kinesweep.config.loading import load_config, read_yaml, set_by_path, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import ConfigError, InputError

GOOD = """
name: tiny
source: {kind: pose_tsv, train: train.tsv, validation: validation.tsv}
model:
  backbone: {kind: seq2seq, scratch: {architecture: m2m_100, d_model: 16}}
  tokenizer: {kind: train, algorithm: word, size: 64}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, *overrides: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_config(Recipe, path, overrides)
    return dict(caught.value.problems)


def test_defaults_and_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    recipe = load_config(Recipe, path, ["training.learning_rate=1e-3", "batch.batch_size=4"])
    assert recipe.training.learning_rate == 1e-3
    assert recipe.batch.batch_size == 4
    assert recipe.generation.num_beams == 5


@pytest.mark.parametrize(
    ("override", "path", "text"),
    [
        ("training.learnin_rate=1", "training.learnin_rate", "did you mean `learning_rate`?"),
        ("trainin={}", "trainin", "did you mean `training`?"),
        ("training.learning_rate=fast", "training.learning_rate", "valid number"),
        ("training.max_steps=0", "training.max_steps", "but is 0"),
        ("training.max_steps=2.5", "training.max_steps", "but is 2.5"),
        ("model.encoder.kind=lstm", "model.encoder.kind", "must be one of 'linear', 'mlp'"),
        ("model.encoder.dropuot=0.1", "model.encoder.dropuot", "did you mean `dropout`?"),
        ("model.tokenizer.sizes=40", "model.tokenizer.sizes", "did you mean `size`?"),
        (
            "model.tokenizer.kind=none",
            "model.tokenizer.kind",
            "'pretrained', 'train', 'folder', but is 'none'",
        ),
        ("model.backbone.pretrained=x", "model.backbone", "either `pretrained` or `scratch`"),
        ("batch={max_frames: 10, batch_size: 2}", "batch", "not both"),
        ("batch={max_frames: 10, max_clip_frames: 20}", "batch", "does not fit"),
        ("checkpoints.max_disk=lots", "checkpoints.max_disk", "50 GB"),
        ("training.metric_for_best_model=meteor", "(file)", "`meteor` is not in `evaluation"),
        ("deepspeed=zero3.json", "deepspeed", "not supported. Weights, gradients"),
        ("training.deepspeed=null", "training.deepspeed", "by `training.fsdp: true`"),
        ("resources.deepspeed={stage: 3}", "resources.deepspeed", "by `kinesweep convert`"),
        ("name=a b", "name", "pattern"),
        ("model.reserved_text_tokens=9", "(file)", "`generation.max_new_tokens` (100)"),
        ("model.fusion.kind=sum", "model.fusion.kind", "'time', 'channel', but is 'sum'"),
        ("model.fusion.resample=cubic", "model.fusion.resample", "unknown"),
        ("model.fusion={kind: channel, separators: true}", "model.fusion.separators", "unknown"),
        ("model.fusion.stream_dropout=1", "model.fusion.stream_dropout", "less than 1"),
        ("model.encoders.dino.dropuot=1", "model.encoders.dino.dropuot", "mean `dropout`?"),
        ("evaluation.metrics=[chrf]", "(file)", "metric_for_best_model"),
    ],
)
def test_a_problem_is_named(tmp_path: Path, override: str, path: str, text: str) -> None:
    found = problems(write(tmp_path, GOOD), override)
    assert list(found) == [path]
    assert text in found[path]


@pytest.mark.parametrize(
    ("override", "path", "now"),
    [
        ("batch.clips=4", "batch.clips", "batch_size"),
        ("batch.paraphrases=random", "batch.paraphrases", "reference_choice"),
        ("batch.max_stream_frames={pose: 9}", "batch.max_stream_frames", "truncate_frames"),
        ("store.complete=[]", "store.complete", "required_splits"),
        ("model.reserve_tokens=9", "model.reserve_tokens", "reserved_text_tokens"),
        ("evaluation.search.num_beams=1", "evaluation.search", "during_training"),
        ("context.generation=gold", "context.generation", "decoding_context"),
        ("prompt.after=Answer", "prompt.after", "suffix"),
        ("source.times=ms", "source.times", "time_unit"),
    ],
)
def test_a_key_of_an_earlier_version_names_the_new_one(
    tmp_path: Path, override: str, path: str, now: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(Recipe, write(tmp_path, GOOD), [override])
    assert [*raised.value.problems] == [(path, f"unknown; it is now called `{now}`")]


def test_a_source_without_splits(tmp_path: Path) -> None:
    found = problems(write(tmp_path, GOOD), "source.train=null", "source.validation=null")
    assert "names no split" in found["source"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    found = problems(write(tmp_path, GOOD), "training.max_steps=0", "batch.max_frame=3", "name=")
    assert set(found) >= {"training.max_steps", "batch.max_frame"}
    with pytest.raises(ConfigError, match=r"3 problems in .*recipe\.yaml"):
        load_config(
            Recipe, tmp_path / "recipe.yaml", ["training.max_steps=0", "batch.a=3", "batch.b=1"]
        )


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: [1\n", "a: ${nowhere}\n", "7"])
def test_not_a_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read_yaml(write(tmp_path, text))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: gr\xfc\xdfe".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match=r"key\.sub=value"):
        read_yaml(write(tmp_path, GOOD), ["training.max_steps"])


def test_put_and_near_miss() -> None:
    values: dict[str, object] = {"a": {"b": 1}}
    set_by_path(values, "a.c.d", 2)
    assert values == {"a": {"b": 1, "c": {"d": 2}}}
    with pytest.raises(InputError, match="holds 1"):
        set_by_path(values, "a.b.c", 3)
    assert suggest_closest_word("lerning", ["learning", "other"]) == "; did you mean `learning`?"
    assert suggest_closest_word("zzz", ["learning"]) == ""


def test_identity_ignores_paths_and_seed_only(tmp_path: Path) -> None:
    recipe = load_config(Recipe, write(tmp_path, GOOD))
    same = recipe.resolve_paths(tmp_path).with_seed(7)
    assert same.compute_config_hash("store") == recipe.compute_config_hash("store")
    assert recipe.compute_config_hash("other") != recipe.compute_config_hash("store")
    other = load_config(Recipe, tmp_path / "recipe.yaml", ["model.encoder.dropout=0.2"])
    assert other.compute_config_hash("store") != recipe.compute_config_hash("store")
    assert same.source.train == str(tmp_path / "train.tsv")


def test_a_recipe_without_context_is_the_one_that_it_was(tmp_path: Path) -> None:
    """Whose sentences context holds says nothing where there is none; its default was `gold`."""
    write(tmp_path, GOOD)

    def hash_of(*overrides: str) -> str:
        return load_config(Recipe, tmp_path / "recipe.yaml", overrides).compute_config_hash("store")

    assert hash_of() == hash_of("context.decoding_context=references")
    before = ["context.window=1", "context.decoding_context=references"]
    assert hash_of("context.window=1") != hash_of(*before)


def test_keys_that_yaml_takes_for_true_are_words(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    text = "on: &part {yes: on, \"no\": 'a', lines: [{off: 1}, yes]}\nagain: *part\n"
    path.write_text(text, encoding="utf-8")
    found = read_yaml(path, ["again.lines=[{on: é, n: 2}]", "x.on=yes"])
    part = {"yes": True, "no": "a", "lines": [{"off": 1}, True]}
    lines = [{"on": "é", "n": 2}]
    assert found == {"on": part, "again": {**part, "lines": lines}, "x": {"on": True}}


def test_items_of_lists_are_overridden(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("features: [{name: pose, points: all}, {name: dino}]\nother: 1\n")
    overrides = [
        "features.parts[1].size={on: 2}",
        "features.streams=dino",
        "other=${features.kind}",
    ]
    assert read_yaml(path, overrides) == {
        "features": {
            "kind": "combined",
            "parts": [{"name": "pose", "points": "all"}, {"name": "dino", "size": {"on": 2}}],
            "streams": "dino",
        },
        "other": "combined",
    }
    with pytest.raises(ConfigError, match="list index out of range"):
        read_yaml(path, ["features.parts[2].size=1"])


def test_a_key_of_another_kind_is_not_suggested_for_itself() -> None:
    # `estimator` is a key of pose corpora only; in a list of corpora all kinds are candidates.
    corpus = {"kind": "image_tsv", "root": "a", "table": "b", "estimator": {"kind": "hybrik"}}
    for source in (corpus, [corpus, corpus]):
        with pytest.raises(ConfigError) as caught:
            validate_config(Recipe, {**yaml.safe_load(GOOD), "source": source}, "bad")
        unknown = [line for line in str(caught.value).splitlines() if "estimator" in line]
        assert unknown and all("mean" not in line for line in unknown), unknown
