"""Scores beside sacreBLEU's own, the baselines beside brute force."""

import random
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch
from safetensors.torch import save_file

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.checkpoints.weight_diff import compare_weights
from kinesweep.core.clip import Clip
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.evaluation.baselines import find_best_constant_sentence, predict_nearest_neighbors
from kinesweep.evaluation.scoring import CorpusMetric, compute_scores
from kinesweep.store.format.index import ClipRecord
from records import memory_store

WORDS = [
    "the",
    "old",
    "man",
    "walks",
    "his",
    "brown",
    "dog",
    "to",
    "a",
    "green",
    "house",
    ",",
    "slowly",
    "and",
    "twice",
    ".",
]


THEIRS = {
    "bleu": sacrebleu.BLEU(force=True),
    "bleu1": sacrebleu.BLEU(force=True, max_ngram_order=1),
    "bleu2": sacrebleu.BLEU(force=True, max_ngram_order=2),
    "bleu3": sacrebleu.BLEU(force=True, max_ngram_order=3),
    "chrf": sacrebleu.CHRF(),
    "chrfpp": sacrebleu.CHRF(word_order=2),
    "ter": sacrebleu.TER(case_sensitive=True),
}


def corpus(seed: int, clips: int = 30) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Hypotheses and references: one or two a clip, some hypotheses empty."""
    rng = random.Random(seed)

    def sentence() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(3, 12)))

    references = {f"c{n:02}": [sentence() for _ in range(1 + n % 2)] for n in range(clips)}
    said = {}
    for clip, wanted in references.items():
        words = wanted[0].split()
        said[clip] = " ".join(w if rng.random() < 0.7 else rng.choice(WORDS) for w in words)
    said["c03"] = ""
    return said, references


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("metric", list(THEIRS))
def test_scores_are_sacrebleus(seed: int, metric: str) -> None:
    said, references = corpus(seed)
    ids = sorted(said)
    streams = [
        [refs[k] if k < len(refs) else None for refs in (references[i] for i in ids)]
        for k in range(2)
    ]
    wanted = THEIRS[metric].corpus_score([said[i] for i in ids], streams).score
    found = compute_scores(said, references, [metric])
    assert found.values[metric] == pytest.approx(wanted)
    assert found.signatures[metric].startswith(f"protocol:raw|{metric}|")
    rows_NK = CorpusMetric(metric).compute_clip_statistics(said, references)
    assert len(rows_NK) == len(ids)
    assert CorpusMetric(metric).compute_score_from_sum(rows_NK.sum(0)) == pytest.approx(wanted)


def test_a_resample_is_a_sum_of_rows() -> None:
    said, references = corpus(1)
    ids = sorted(said)
    drawn = random.Random(0).choices(range(len(ids)), k=len(ids))
    again = {f"{n:03}": ids[place] for n, place in enumerate(drawn)}
    whole = compute_scores(
        {n: said[i] for n, i in again.items()},
        {n: references[i] for n, i in again.items()},
        ["bleu"],
    )
    rows_NK = CorpusMetric("bleu").compute_clip_statistics(said, references)
    assert CorpusMetric("bleu").compute_score_from_sum(rows_NK[drawn].sum(0)) == pytest.approx(
        whole.values["bleu"]
    )


def test_clips_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InputError, match="not in both: b"):
        compute_scores({"a": "x"}, {"a": ["x"], "b": ["y"]}, ["bleu"])
    with pytest.raises(InputError, match="there are no clips"):
        compute_scores({}, {}, ["bleu"])


@pytest.mark.parametrize("seed", range(4))
def test_the_best_constant_is_the_one_that_trying_all_would_find(seed: int) -> None:
    _, references = corpus(seed)
    candidates = [refs[0] for refs in corpus(seed + 10)[1].values()]
    best, value = find_best_constant_sentence(candidates, references)
    tried = {
        c: compute_scores(dict.fromkeys(references, c), references, ["bleu"]).values["bleu"]
        for c in candidates
    }
    assert value == pytest.approx(max(tried.values()))
    assert tried[best] == pytest.approx(value)


def test_the_nearest_neighbour_of_a_train_clip_is_itself(tmp_path: Path) -> None:
    store = tiny_store(tiny_recipe(tiny_corpus(tmp_path, clips=24), tmp_path / "stores"))
    train = store.get_records("train")
    found = predict_nearest_neighbors(store, train, train)
    assert found == {record.clip.id: record.clip.texts[0] for record in train}
    others = predict_nearest_neighbors(store, train, store.get_records("validation"))
    assert set(others.values()) <= {record.clip.texts[0] for record in train}


def test_checkpoints_are_compared_tensor_by_tensor(tmp_path: Path) -> None:
    one = {"same": torch.ones(2), "moved": torch.zeros(3), "gone": torch.ones(1)}
    one |= {"cut": torch.ones(4), "nan": torch.tensor([np.nan]), "cast": torch.ones(2)}
    two = {"same": torch.ones(2), "moved": torch.tensor([0.0, 0.5, -2.0]), "new": torch.ones(1)}
    two |= {"cut": torch.ones(2, 2), "nan": torch.tensor([np.nan]), "cast": torch.ones(2).double()}
    save_file(one, tmp_path / "one.safetensors")
    save_file(two, tmp_path / "two.safetensors")
    rows = {
        r.name: r for r in compare_weights(*(tmp_path / f"{n}.safetensors" for n in ("one", "two")))
    }
    assert {name for name, row in rows.items() if row.is_equal} == {"same", "nan"}
    assert rows["moved"].largest_difference == 2.0
    assert (rows["gone"].note, rows["new"].note) == ("only in the first", "only in the second")
    assert (rows["cut"].largest_difference, rows["cast"].largest_difference) == (None, 0.0)
    with pytest.raises(CheckpointError):
        compare_weights(tmp_path / "one.safetensors", tmp_path / "none.safetensors")


def test_neighbours_are_compared_beside_the_mean_of_train() -> None:
    """Seen from zero all poses lie in one direction, and the wanted clip is nearest to `a`."""
    places = {"a": (10.0, 1.0), "b": (11.0, -2.0), "wanted": (30.0, -1.0)}
    clips = {name: Clip(name, "train", "", texts=(f"said of {name}",)) for name in places}
    records = {name: ClipRecord(clip, {"pose": 3}) for name, clip in clips.items()}
    store = memory_store(
        *records.values(),
        features=lambda record: {"pose": np.tile(np.float32(places[record.clip.id]), (3, 1))},
    )
    train = [records["a"], records["b"]]
    assert predict_nearest_neighbors(store, train, [records["wanted"]]) == {"wanted": "said of b"}
