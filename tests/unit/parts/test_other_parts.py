"""A source, features, a metric and a sampler of another package, from recipe to translated file."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinesweep as ks
from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import CorporaConfig
from kinesweep.core.errors import ConfigError, SourceError
from kinesweep.core.units import Span
from kinesweep.evaluation.metrics import compute_extra_scores
from kinesweep.export.raw_inputs import get_raw_file_filter, read_raw_file
from kinesweep.sources import build_source
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.journal.sweep_metadata import (
    SweepMetadata,
    read_sweep_metadata,
    write_sweep_metadata,
)
from plugin_package import install_package
from spaces import LAYERS, RATE, course, load, search, virtual

MODULE = '''
    import json
    from typing import ClassVar, Literal

    import numpy as np
    import optuna
    from kinesweep.config.parts import FeaturesPart, MetricPart, SamplerPart, SourcePart
    from kinesweep.config.recipe.sources.declared_skeletons import AnySkeleton
    from kinesweep.core.clip import Clip, InvalidRow
    from kinesweep.core.errors import ClipError
    from kinesweep.evaluation.metrics.base import ClipMeanMetric
    from kinesweep.features.contract import Features
    from kinesweep.features.parts import SingleStreamStep
    from kinesweep.sources.base import PrecomputedFeatures
    from kinesweep.sources.part_source import FileTableSource

    class LinesConfig(SourcePart):
        """Clips in JSON lines, features as text."""
        kind: Literal["json_lines"] = "json_lines"
        implementation: ClassVar[str] = "lab_parts:LinesSource"
        file_suffixes: ClassVar[tuple[str, ...]] = (".csv",)
        features_kinds: ClassVar[tuple[str, ...]] = ("precomputed", "doubled")
        rate_hz: float = 25.0

    class LinesSource(FileTableSource):
        def read_clips(self, split, path):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                if row.get("bad"):
                    yield InvalidRow("", row["id"], "marked_bad", "is marked as bad")
                    continue
                yield Clip(row["id"], split, row["file"], texts=(row["text"],))

        def read_file(self, path, span):
            x_TD = np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2)
            if not len(x_TD):
                raise ClipError("has no frames", "empty")
            return PrecomputedFeatures(x_TD, self.config.rate_hz)

    class PointsConfig(LinesConfig):
        kind: Literal["point_lines"] = "point_lines"
        skeleton: AnySkeleton = "smpl_22"

    class DoubledConfig(FeaturesPart):
        kind: Literal["doubled"] = "doubled"
        implementation: ClassVar[str] = "lab_parts:DoubledStep"
        factor: float = 2.0

    class RootedConfig(DoubledConfig):
        source_kinds: ClassVar[tuple[str, ...]] = ("json_lines",)
        kind: Literal["rooted"] = "rooted"
        root: float = 1.5

    class DoubledStep(SingleStreamStep):
        def compute(self, media):
            return Features(media.x_TD * np.float32(self.config.factor), media.rate_hz)

    class OverlapConfig(MetricPart):
        kind: Literal["first_word"] = "first_word"
        implementation: ClassVar[str] = "lab_parts:FirstWord"
        mode: ClassVar[str] = "max"
        case: bool = True

    class FirstWord(ClipMeanMetric):
        def __init__(self, config, protocol, device):
            super().__init__(config.score_name, protocol)
            self.case = config.case

        def score_pairs(self, pairs):
            return [100.0 * (p.hypothesis.split()[:1] == p.reference.split()[:1]) for p in pairs]

        def format_settings(self):
            return f"case:{self.case}"

    class MiddleConfig(SamplerPart):
        kind: Literal["shrinking"] = "shrinking"
        implementation: ClassVar[str] = "lab_parts:build"
        supports_objectives: ClassVar[bool] = False
        supports_conditions: ClassVar[bool] = False

    def build(config, seed, num_trials):
        return optuna.samplers.RandomSampler(seed=seed)
'''
ENTRY_POINTS = {
    "kinesweep.sources": {"json_lines": "LinesConfig", "point_lines": "PointsConfig"},
    "kinesweep.features": {"doubled": "DoubledConfig", "rooted": "RootedConfig"},
    "kinesweep.metrics": {"first_word": "OverlapConfig"},
    "kinesweep.samplers": {"shrinking": "MiddleConfig"},
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(version: str = "1.0") -> None:
        install_package(monkeypatch, tmp_path / "site", "lab_parts", MODULE, ENTRY_POINTS, version)

    install()
    return install


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for split, count in (("train", 8), ("validation", 4)):
        lines = []
        for index in range(count):
            name = f"{split}{index}.csv"
            np.savetxt(folder / name, draws.integers(0, 9, (5 + index, 3)), delimiter=",")
            lines.append({"id": f"{split}/{index}", "file": name, "text": f"sign {index % 3}"})
        lines.append({"id": f"{split}/bad", "file": "no.csv", "text": "x", "bad": True})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def make_recipe(corpus: Path, stores: Path, features: Any = None, **changes: Any) -> Recipe:
    plain = tiny_recipe(corpus, stores).model_dump(mode="json")
    source = {
        "kind": "json_lines",
        "train": str(corpus / "train.jsonl"),
        "validation": str(corpus / "validation.jsonl"),
    }
    plain |= {"source": source, "features": features or {"kind": "doubled", "factor": 3.0}}
    plain["store"] |= {"max_dropped_share": 0.5}
    for key, value in changes.items():
        plain[key] = {**plain[key], **value}
    return validate_config(Recipe, plain, "the recipe")


def test_a_corpus_of_another_format_is_extracted(package: Any, corpus: Path) -> None:
    recipe = make_recipe(corpus, corpus / "stores")
    store = extract_locally(recipe)
    records = store.get_records("train")
    assert [record.clip.id for record in records] == [f"train/{i}" for i in range(8)]
    want = 3 * np.loadtxt(corpus / "train3.csv", delimiter=",")
    assert np.array_equal(store.get_features(records[3])["features"], want)
    assert [row["reason"] for row in store.manifest["dropped"]["rows"]] == ["marked_bad"] * 2
    assert recipe.source.rate_hz == 25.0 and Recipe.model_validate(recipe.model_dump()) == recipe


def test_another_version_of_the_package_is_another_store(package: Any, corpus: Path) -> None:
    recipe = make_recipe(corpus, corpus / "stores")
    first = extract_locally(recipe).fingerprint
    assert extract_locally(recipe).fingerprint == first
    package("1.1")
    assert extract_locally(recipe).fingerprint != first
    other = make_recipe(corpus, corpus / "stores", {"kind": "doubled", "factor": 4.0})
    assert extract_locally(other).fingerprint != extract_locally(recipe).fingerprint


def test_a_setting_with_the_name_of_a_key_of_lists_is_refused_in_a_list(
    package: Any, corpus: Path
) -> None:
    """The media folder of the list would otherwise become the setting, in silence."""
    alone = make_recipe(corpus, corpus / "stores", {"kind": "rooted", "root": 2.5})
    assert alone.features.root == 2.5
    part = {"kind": "rooted", "name": "a", "root": "elsewhere"}
    with pytest.raises(ConfigError, match=r"lab_parts:RootedConfig` have the key `root`"):
        make_recipe(corpus, corpus / "stores", [part])


def test_files_in_sections_of_parts_are_relative_to_the_folder_of_the_recipe(
    package: Any, tmp_path: Path
) -> None:
    (tmp_path / "hand.yaml").write_text("points: [palm, tip]\nbones: [[palm, tip]]\n")
    source = {"kind": "point_lines", "train": "a.jsonl", "skeleton": "hand.yaml"}
    corpora = {"kind": "corpora", "corpora": [{**source, "name": "a"}, {**source, "name": "b"}]}
    found = validate_config(CorporaConfig, corpora, "the corpora", base_dir=tmp_path)
    assert [corpus.skeleton.points for corpus in found.corpora] == [("palm", "tip")] * 2


def test_raw_files_are_read_as_the_corpus_was(package: Any, corpus: Path) -> None:
    recipe = make_recipe(corpus, corpus / "stores")
    file = corpus / "train0.csv"
    media: Any = read_raw_file(recipe.source, recipe.features, file, Span())
    assert np.array_equal(media.x_TD, np.loadtxt(file, delimiter=","))
    accepts = get_raw_file_filter(recipe.source)
    assert accepts(file) and not accepts(corpus / "train.jsonl")
    source = pickle.loads(pickle.dumps(build_source(recipe.source)))
    assert [clip.row for clip in source.list_clips("validation")][:2] == [
        "validation.jsonl:1",
        "validation.jsonl:2",
    ]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"kind": "pose"}, "json_lines needs `features.kind: precomputed or doubled`, not pose"),
        ({"kind": "doubled", "facto": 1}, r"features.facto\s+unknown; did you mean `factor`"),
        ({"kind": "doubld"}, "'doubled' .lab_parts.*, but is 'doubld'; did you mean `doubled`"),
    ],
)
def test_mistakes_are_named(package: Any, corpus: Path, features: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_recipe(corpus, corpus / "stores", features)


def test_a_broken_table_and_a_media_file_outside_are_reported(package: Any, corpus: Path) -> None:
    (corpus / "train.jsonl").write_text('{"id": "a", "file": "../x.csv", "text": "t"}\n{nonsense')
    with pytest.raises(SourceError, match=r"(?s)train.jsonl:1.*cannot be read: JSONDecodeError"):
        build_source(make_recipe(corpus, corpus / "s").source).list_clips("train")
    (corpus / "train.jsonl").write_text('{"id": "a", "file": "../x.csv", "text": "t"}')
    source = build_source(make_recipe(corpus, corpus / "s").source)
    assert [row.reason for row in source.check_clips()] == ["outside_root", "marked_bad"]


def test_features_of_a_package_as_one_of_several_parts(package: Any, corpus: Path) -> None:
    parts = [
        {"name": "plain", "kind": "precomputed", "stream": "features"},
        {"name": "more", "kind": "doubled", "factor": 5.0},
    ]
    recipe = make_recipe(corpus, corpus / "stores", parts)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    kinds = {part.name: own.features.kind for part, own in recipe.part_recipes}
    assert kinds == {"plain": "precomputed", "more": "doubled"}
    store = ks.extract(recipe, on_ray=False)
    streams = store.get_features(store.get_records("train")[2])
    assert np.array_equal(streams["more"], 5 * streams["plain"])


def test_a_metric_scores_with_its_version_in_the_signature(package: Any, corpus: Path) -> None:
    recipe = make_recipe(
        corpus, corpus / "s", evaluation={"extra_metrics": [{"kind": "first_word", "case": False}]}
    )
    scores = compute_extra_scores(
        {"a": "yes it is", "b": "no"}, {"a": ["yes"], "b": ["yes", "never"]}, recipe.evaluation
    )
    assert scores.values == {"first_word": 50.0}
    assert scores.clip_scores["first_word"] == {"a": 100.0, "b": 0.0}
    assert scores.signatures["first_word"].endswith("case:False|package:lab_parts-1.0")
    assert recipe.evaluation.metric_modes["first_word"] == "max"
    hashes = {recipe.compute_config_hash("store")}
    package("2.0")
    assert recipe.compute_config_hash("store") not in hashes


def test_a_sampler_searches_and_says_what_it_cannot(package: Any, tmp_path: Path) -> None:
    from kinesweep.sweeps.planning.simulation import simulate_policy

    space, recipe = load(tmp_path, search={"kind": "shrinking", "trials": 7})
    journal, clock = virtual()
    policy = search(space, recipe, journal)
    simulate_policy(policy, lambda p: course(1000 * p.values[RATE]), 2, clock)
    assert len([t for t in journal.trials if t.duplicate_of is None]) == 7
    write_sweep_metadata(tmp_path, SweepMetadata(space, recipe, tmp_path))
    made_with = read_sweep_metadata(tmp_path).made_with
    assert made_with["samplers.shrinking"] == "lab_parts 1.0"
    parameters = {
        LAYERS: {"choices": [1, 2]},
        RATE: {"log": [1e-4, 1e-2], "when": {LAYERS: 2}},
    }
    with pytest.raises(ConfigError, match=r"`shrinking` cannot search .* it has a condition"):
        load(tmp_path, search={"kind": "shrinking", "trials": 7}, parameters=parameters)
    with pytest.raises(ConfigError, match=r"'nsga2', 'shrinking' .lab_parts., but is 'shrink'"):
        load(tmp_path, search={"kind": "shrink", "trials": 7})
