"""Runs on several parts of features: bits without a part, and corpora of different kinds."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.evaluate import evaluate_model
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.inspect.show import describe_store
from kinesweep.store.inspect.statistics import compute_frame_statistics
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.result import RunResult
from parts import POSE, films_with_poses, parts_recipe, video_part

SHORT: dict[str, Any] = {"max_steps": 4, "eval_steps": 2, "logging_steps": 1}


def train(recipe: Recipe, folder: Path) -> RunResult:
    spec = RunSpec(recipe, extract_locally(recipe).folder, folder)
    return train_run(spec, NullRunLogger(), lambda _: True)


@pytest.mark.integration
def test_leaving_a_stream_out_changes_no_bit(tmp_path: Path) -> None:
    corpus = films_with_poses(tmp_path / "corpus", train=5, validation=2)
    parts = [POSE, video_part("dino", tmp_path / "dino")]
    model = {"encoders": {"dino": {"kind": "mlp"}}}
    features = {"kind": "combined", "parts": parts, "streams": "pose"}
    without = parts_recipe(corpus, tmp_path / "stores", features, training=SHORT, model=model)
    own = {key: value for key, value in POSE.items() if key != "name"}
    plain = parts_recipe(corpus, tmp_path / "stores", [POSE], training=SHORT).model_dump(
        mode="json"
    )
    source = {
        key: value
        for key, value in plain["source"].items()
        if key not in ("poses", "allow_empty_texts")
    }
    source |= {"kind": "pose_tsv", "root": plain["source"]["poses"], "names_videos": True}
    alone = validate_config(Recipe, {**plain, "source": source, "features": own}, "alone")
    runs = [train(without, tmp_path / "without"), train(alone, tmp_path / "alone")]
    assert runs[0].weights_sha256 == runs[1].weights_sha256
    fingerprint = extract_locally(alone).fingerprint
    assert without.compute_config_hash(fingerprint) == alone.compute_config_hash(fingerprint)
    names = ["best/model.safetensors", "best/config.json", "predictions/validation.tsv"]
    for name in names:
        first, second = (compute_file_sha256(run.folder / name) for run in runs)
        assert first == second, name
    both = train(
        parts_recipe(corpus, tmp_path / "stores", parts, training=SHORT, model=model),
        tmp_path / "both",
    )
    assert both.weights_sha256 != runs[0].weights_sha256


def two_kinds(tmp_path: Path, streams: str = "all", **changes: Any) -> Recipe:
    """A corpus of poses alone, one of films with poses, and one of films alone."""
    corpora = []
    for number, name in enumerate(("poses", "both", "films")):
        folder = tmp_path / name
        if not folder.is_dir():
            films_with_poses(folder, train=3 + number, validation=1)
        tables = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
        corpora.append({"kind": "video_tsv", "name": name, "root": str(folder), **tables})
    corpora[0] |= {"kind": "pose_tsv", "root": str(tmp_path / "poses/poses"), "names_videos": True}
    corpora[1]["poses"] = str(tmp_path / "both/poses")
    parts = [POSE, video_part("dino", tmp_path / "dino")]
    plain = tiny_recipe(tmp_path, tmp_path / "stores", **changes).model_dump(mode="json")
    features = {"kind": "combined", "parts": parts, "streams": streams}
    return validate_config(Recipe, {**plain, "source": corpora, "features": features}, "kinds")


@pytest.mark.integration
def test_corpora_of_different_kinds_train_together(tmp_path: Path) -> None:
    recipe = two_kinds(tmp_path, training=SHORT, batch={"batch_size": 2})
    store = extract_locally(recipe)
    streams = {
        record.clip.corpus: sorted(store.get_features(record))
        for record in store.get_records("train")
    }
    assert streams == {"poses": ["pose"], "both": ["dino", "pose"], "films": ["dino"]}
    describe_store(store)
    # Statistics count the clips that have a stream, each once.
    poses = np.concatenate(
        [
            store.get_features(record)["pose"].astype(np.float64)
            for record in store.get_records("train")
            if "pose" in record.lengths
        ]
    )
    mean_D, deviation_D = compute_frame_statistics(store)["pose"]
    np.testing.assert_allclose(mean_D, poses.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation_D, poses.std(axis=0), rtol=1e-3, atol=1e-4)
    run = train(recipe, tmp_path / "run")
    scored = evaluate_model(
        run.folder / "best", store, "validation", recipe.generation, recipe.evaluation
    )
    scored_corpora = {row.clip_id.split("/")[0] for row in scored.predictions}
    assert scored_corpora == {"poses", "both", "films"}


def test_parts_of_one_stream_must_agree(tmp_path: Path) -> None:
    recipe = two_kinds(tmp_path)
    plain = recipe.model_dump(mode="json")
    plain["source"]["corpora"] = plain["source"]["corpora"][:2]
    first, second = ({**POSE, "corpora": [name]} for name in ("poses", "both"))
    plain["features"] = [first, second]
    store = extract_locally(validate_config(Recipe, plain, "one stream"))
    assert [len(store.get_records(split)) for split in ("train", "validation")] == [7, 2]
    assert all(set(store.get_features(r)) == {"pose"} for r in store.get_records("train"))
    plain["features"] = [first, {**second, "missing": "mask"}]
    with pytest.raises(Exception, match=r"parts called `pose` have different features: 18 .* 24"):
        extract_locally(validate_config(Recipe, plain, "other widths"))
    plain["features"] = [first, POSE]
    with pytest.raises(ConfigError, match="two parts are called `pose`"):
        validate_config(Recipe, plain, "overlap")


def test_a_corpus_needs_a_selected_stream(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="corpus `films` provides none of the selected streams"):
        two_kinds(tmp_path, streams="pose")
    plain = two_kinds(tmp_path).model_dump(mode="json")
    plain["features"]["parts"][0]["corpora"] = ["film"]
    with pytest.raises(ConfigError, match="`corpora` names film, but `source` lists poses, both"):
        validate_config(Recipe, plain, "unknown corpus")
    shutil.rmtree(tmp_path / "both")
