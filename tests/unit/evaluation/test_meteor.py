"""METEOR by hand, beside nltk's own figures, with and without synonyms of a tiny WordNet."""

import random
from pathlib import Path

import numpy as np
import pytest

from corpus import tiny_recipe
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.evaluation import EvaluationConfig, ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.evaluate import evaluate_texts
from kinesweep.evaluation.scoring import CorpusMetric, compute_scores
from kinesweep.evaluation.wordnet import open_wordnet
from kinesweep.pipelines.inputs import load_recipe
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.metrics import read_metrics
from words import tiny_wordnet

METEOR = ["meteor"]
ANIMALS = {"noun": [["dog", "hound"], ["house", "home"]], "verb": [["walk", "stroll"]]}


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_wordnet(tmp_path_factory.mktemp("own") / "wordnet", ANIMALS))


def by_hand(matches: int, chunks: int, said: int, wanted: int) -> float:
    """Lavie and Agarwal (2007), formulas 1 and 2, times 100."""
    precision, recall = matches / said, matches / wanted
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    return 100 * mean * (1 - 0.5 * (chunks / matches) ** 3)


@pytest.mark.parametrize(
    ("said", "wanted", "matches", "chunks", "with_synonyms"),
    [
        ("the dog sleeps", "the dog sleeps", 3, 1, (3, 1)),
        ("The Dog sleeps", "the dog SLEEPS", 3, 1, (3, 1)),
        ("dogs sleeping", "dog sleeps", 2, 1, (2, 1)),
        ("a dog sleeps", "a cat sleeps well", 2, 2, (2, 2)),
        ("a hound sleeps", "a dog sleeps", 2, 2, (3, 1)),
        ("the dog strolls home", "the dog walks home", 3, 2, (4, 1)),
    ],
)
def test_words_stems_and_synonyms(
    wordnet: str, said: str, wanted: str, matches: int, chunks: int, with_synonyms: tuple[int, int]
) -> None:
    sizes = (len(said.split()), len(wanted.split()))
    bare = compute_scores({"a": said}, {"a": [wanted]}, METEOR).values["meteor"]
    assert bare == pytest.approx(by_hand(matches, chunks, *sizes))
    rich = compute_scores({"a": said}, {"a": [wanted]}, METEOR, wordnet=wordnet).values["meteor"]
    assert rich == pytest.approx(by_hand(*with_synonyms, *sizes))


def test_the_figure_that_nltk_prints() -> None:
    said = (
        "It is a guide to action which ensures that the military always obeys the commands of the"
        " party"
    )
    wanted = (
        "It is a guide to action that ensures that the military will forever heed Party commands"
    )
    found = compute_scores({"a": said}, {"a": [wanted]}, METEOR, ScoringProtocol(tokenize="none"))
    assert found.values["meteor"] == pytest.approx(69.44, abs=0.005)


def test_the_mean_over_clips_of_the_best_reference() -> None:
    said = {"a": "the dog sleeps", "b": "", "c": "nothing alike"}
    wanted = {"a": ["a cat", "the dog sleeps"], "b": ["the dog"], "c": ["a cat"]}
    best = by_hand(3, 1, 3, 3)
    assert compute_scores(said, wanted, METEOR).values["meteor"] == pytest.approx(best / 3)
    rows_N2 = CorpusMetric("meteor").compute_clip_statistics(said, wanted)
    assert rows_N2 == pytest.approx(np.array([[best / 100, 1], [0, 1], [0, 1]]))


def test_a_resample_is_a_sum_of_rows(wordnet: str) -> None:
    rng = random.Random(3)
    words = ["dog", "hounds", "walks", "strolled", "home", "house", "the", "."]
    said = {f"{n:02}": " ".join(rng.choices(words, k=5)) for n in range(20)}
    wanted = {clip: [" ".join(rng.choices(words, k=6))] for clip in said}
    measure = CorpusMetric("meteor", wordnet=wordnet)
    rows_N2, drawn = measure.compute_clip_statistics(said, wanted), rng.choices(range(20), k=20)
    again = {f"{n:02}": sorted(said)[place] for n, place in enumerate(drawn)}
    whole = measure(
        {n: said[i] for n, i in again.items()}, {n: wanted[i] for n, i in again.items()}
    )
    assert measure.compute_score_from_sum(rows_N2[drawn].sum(0)) == pytest.approx(whole)
    assert measure(said, wanted) > CorpusMetric("meteor")(said, wanted)


def test_the_signature_says_what_was_matched(wordnet: str, tmp_path: Path) -> None:
    def signature(folder: str | None) -> str:
        found = compute_scores(
            {"a": "x"}, {"a": ["x"]}, METEOR, ScoringProtocol(case="lower"), folder
        )
        return found.signatures["meteor"]

    assert signature(None).startswith("protocol:case=lower|meteor|nrefs:1|case:lc|tok:13a|nltk:3")
    assert signature(None).endswith("|match:exact+stem")
    assert signature(wordnet).endswith("|match:exact+stem+wordnet:3.0")
    other = tiny_wordnet(tmp_path / "other", ANIMALS, version="3.1")
    assert signature(str(other)).endswith("+wordnet:3.1")


def test_wordnet_is_found_in_nltks_data(tmp_path: Path) -> None:
    tiny_wordnet(tmp_path / "corpora/wordnet", ANIMALS)
    for place in (tmp_path, tmp_path / "corpora", tmp_path / "corpora/wordnet"):
        assert open_wordnet(str(place)).version == "3.0"


def test_folders_that_hold_no_wordnet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no WordNet: `lexnames`, .* and 10 more missing"):
        open_wordnet(str(tmp_path / "nowhere"))
    partly = tiny_wordnet(tmp_path / "partly", ANIMALS)
    (partly / "verb.exc").unlink()
    with pytest.raises(InputError, match=r"WordNet: `verb\.exc` missing; give"):
        open_wordnet(str(partly))
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/wordnet.zip").touch()
    with pytest.raises(InputError, match=r"unpack `.*corpora/wordnet\.zip`, or give"):
        open_wordnet(str(tmp_path))
    damaged = tiny_wordnet(tmp_path / "damaged", ANIMALS)
    (damaged / "index.noun").write_text("dog n many\n")
    with pytest.raises(InputError, match=r"cannot be read: .*index\.noun, line 1"):
        open_wordnet(str(damaged))
    nameless = tiny_wordnet(tmp_path / "nameless", ANIMALS, version="of mine")
    with pytest.raises(InputError, match="does not say which version"):
        open_wordnet(str(nameless))


def test_a_missing_wordnet_is_said_before_training(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    asked = {"metrics": ["bleu", "chrf", "meteor"], "wordnet": str(tmp_path)}
    recipe = tiny_recipe(corpus, store.folder.parent, evaluation=asked)
    file = tmp_path / "recipe.yaml"
    file.write_text(format_recipe_yaml(recipe))
    with pytest.raises(InputError, match="holds no WordNet"):
        load_recipe(file, None)
    with pytest.raises(InputError, match="holds no WordNet"):
        train_run(RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True)
    assert not (tmp_path / "run/metrics.jsonl").exists()
    assert load_recipe(file, ["evaluation.metrics=[bleu]"]).evaluation.wordnet == str(tmp_path)


def test_a_run_is_scored_with_synonyms_to_its_end(
    wordnet: str, corpus: Path, store: Store, tmp_path: Path
) -> None:
    asked = {"metrics": ["bleu", "chrf", "meteor"], "wordnet": wordnet}
    recipe = tiny_recipe(corpus, store.folder.parent, evaluation=asked)
    result = train_run(RunSpec(recipe, store.folder, tmp_path), NullRunLogger(), lambda _: True)
    assert result.signatures["meteor"].endswith("wordnet:3.0")
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "meteor" in row]
    assert len(rows) == 3


def test_texts_are_scored_with_the_recipes_synonyms(wordnet: str, store: Store) -> None:
    records = store.get_records("validation")
    texts = {record.clip.id: record.clip.texts[0] for record in records}
    config = EvaluationConfig(metrics=("meteor",), wordnet=wordnet)
    found = evaluate_texts(texts, store, "validation", config)
    assert found.signatures["meteor"].endswith("wordnet:3.0")
    assert found.scores["meteor"] > 90


def test_the_folder_is_resolved_and_leaves_no_trace(
    wordnet: str, corpus: Path, tmp_path: Path
) -> None:
    recipe: Recipe = tiny_recipe(corpus, tmp_path, evaluation={"wordnet": "wordnet"})
    resolved = recipe.resolve_paths(Path(wordnet).parent)
    assert resolved.evaluation.wordnet == wordnet
    assert resolved.compute_config_hash("x") == recipe.compute_config_hash("x")
    assert resolved.to_portable().evaluation == recipe.evaluation
    without = tiny_recipe(corpus, tmp_path)
    assert without.compute_config_hash("x") != recipe.compute_config_hash("x")
