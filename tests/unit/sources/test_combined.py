"""Several corpora as one: told apart, read each by its own, weighted in training."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml, read_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.bucketing import plan_epoch
from kinesweep.data.run_length import epoch_planner
from kinesweep.sources import build_source
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    for name, clips in (("one", 30), ("two", 40)):
        tiny_corpus(folder / name, clips)
    return folder


def joined(corpora: Path, root: Path, **weights: float) -> Recipe:
    """Train of both, validation of the second."""
    plain = tiny_recipe(corpora / "one" / "corpus", root).model_dump(mode="json")
    plain["source"] = [
        {
            "name": name,
            "sampling_weight": weights.get(name, 1.0),
            **{s: str(corpora / name / "corpus" / f"{s}.tsv") for s in splits},
        }
        for name, splits in (("one", ["train"]), ("two", ["train", "validation"]))
    ]
    return validate_config(Recipe, plain, "joined")


def test_splits_are_those_that_are_named(corpora: Path, tmp_path: Path) -> None:
    recipe = joined(corpora, tmp_path)
    source = pickle.loads(pickle.dumps(build_source(recipe.effective_source)))
    assert source.list_splits() == ("train", "validation")
    counts = Counter(clip.corpus for clip in source.list_clips("train"))
    alone = {
        name: len(
            build_source(
                tiny_recipe(corpora / name / "corpus", tmp_path).effective_source
            ).list_clips("train")
        )
        for name in ("one", "two")
    }
    assert counts == alone
    assert {clip.corpus for clip in source.list_clips("validation")} == {"two"}
    ids = [clip.id for split in source.list_splits() for clip in source.list_clips(split)]
    assert len(set(ids)) == len(ids) and all(i.startswith(("one/", "two/")) for i in ids)
    assert source.check_clips() == source.list_invalid_rows() == []
    with pytest.raises(InputError, match="test"):
        source.list_clips("test")
    first = source.list_clips("train")[0]
    source.resolve_media_path(first)
    assert len(source.read(first).points_TPJC) > 0


def test_clips_that_are_extracted_already_are_not_again(corpora: Path, tmp_path: Path) -> None:
    extract_locally(tiny_recipe(corpora / "one" / "corpus", tmp_path))
    recipe = joined(corpora, tmp_path)
    summary = summarize_extraction_plan(recipe)
    assert summary.num_to_reuse > 10
    store = extract_locally(recipe)
    again = [record.clip for record in store.get_records("train")]
    assert {clip.corpus for clip in again} == {"one", "two"}


def test_training_knows_the_weights(corpora: Path, tmp_path: Path) -> None:
    recipe = joined(corpora, tmp_path / "stores", one=0.5, two=2.0)
    assert recipe.corpus_weights == {"one": 0.5, "two": 2.0}
    even = joined(corpora, tmp_path / "stores")
    store = extract_locally(recipe)
    assert extract_locally(even).fingerprint == store.fingerprint
    assert recipe.compute_config_hash(store.fingerprint) != even.compute_config_hash(
        store.fingerprint
    )
    result = train_run(
        RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
    )
    assert result.status == "finished"
    assert read_recipe(result.folder / "best") == recipe
    assert "one" in format_recipe_yaml(recipe.to_portable()) and str(
        corpora
    ) not in format_recipe_yaml(recipe.to_portable())


def test_a_run_draws_by_the_weights(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = joined(corpora, tmp_path / "stores", one=3.0, two=2.0)
    store = extract_locally(recipe)
    drawn: list[Counter[str]] = []

    def spy(*arguments: Any) -> list[tuple[int, ...]]:
        batches = plan_epoch(*arguments)
        corpus = [record.clip.corpus for record in store.get_records("train")]
        drawn.append(Counter(corpus[i] for batch in batches for i in batch))
        return batches

    monkeypatch.setattr(epoch_planner, "plan_epoch", spy)
    train_run(RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True)
    once = Counter(record.clip.corpus for record in store.get_records("train"))
    assert drawn and all(
        epoch == {"one": 3 * once["one"], "two": 2 * once["two"]} for epoch in drawn
    )


def test_weights_are_kept_over_epochs() -> None:
    lengths = np.full(300, 10).tolist()
    weights = np.repeat([0.25, 1.0, 2.5], 100)
    config = BatchConfig(batch_size=7)
    seen: Counter[int] = Counter()
    for epoch in range(40):
        drawn = [i for batch in plan_epoch(lengths, config, 3, epoch, weights) for i in batch]
        once = Counter(drawn)
        assert all(once[i] == 1 for i in range(100, 200))
        assert {once[i] for i in range(200, 300)} <= {2, 3}
        seen.update(drawn)
    for first, wanted in ((0, 0.25), (100, 1.0), (200, 2.5)):
        mean = sum(seen[i] for i in range(first, first + 100)) / 100 / 40
        assert mean == pytest.approx(wanted, rel=0.05)
    assert plan_epoch(lengths, config, 3, 5, weights) == plan_epoch(lengths, config, 3, 5, weights)
    assert plan_epoch(lengths, config, 3, 5, weights) != plan_epoch(lengths, config, 4, 5, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "`name` of its own"),
        ({"name": "two"}, "`name` of its own"),
        ({"sampling_weight": 0}, "greater than 0"),
        ({"kind": "video_tsv"}, "of one kind"),
        ({"videos": "films", "root": "poses"}, "estimate"),
    ],
)
def test_lists_that_cannot_be(
    corpora: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    plain = joined(corpora, tmp_path).model_dump(mode="json")
    plain["source"] = [{**plain["source"]["corpora"][0]}, plain["source"]["corpora"][1]]
    if change.get("kind"):
        for key in ("videos", "names_videos", "person", "estimator"):
            del plain["source"][0][key]
    plain["source"][0] |= change
    with pytest.raises(ConfigError, match=message):
        validate_config(Recipe, plain, "bad")
