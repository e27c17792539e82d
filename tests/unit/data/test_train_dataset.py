"""The endless stream: seeded, complete, well filled, the same for any workers and ranks."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.batch import IGNORE
from kinesweep.core.errors import InputError, StoreError
from kinesweep.data.bucketing import plan_epoch
from kinesweep.data.evaluation import build_eval_batches, get_references
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("batches")
    return tiny_store(tiny_recipe(tiny_corpus(folder), folder / "stores"))


@pytest.fixture(scope="module")
def text(store: Store) -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=256)
    return build_tokenizer(config, store.get_records("train"), None)


def ids(stream: TrainDataset, count: int) -> list[tuple[str, ...]]:
    return [stream.get_clip_ids(position) for position in range(count)]


def test_every_clip_once_an_epoch(store: Store, text: TextTokenizer) -> None:
    stream = TrainDataset(store, text, BatchConfig(batch_size=8), seed=1)
    per_epoch = -(-len(store.get_records("train")) // 8)
    seen = Counter(i for batch in ids(stream, 3 * per_epoch) for i in batch)
    assert set(seen) == {r.clip.id for r in store.get_records("train")}
    assert set(seen.values()) == {3}


def test_order_follows_the_seed_and_nothing_else(store: Store, text: TextTokenizer) -> None:
    config = BatchConfig(batch_size=8)
    one = ids(TrainDataset(store, text, config, seed=1), 12)
    assert ids(TrainDataset(store, text, config, seed=1), 12) == one
    assert ids(TrainDataset(store, text, config, seed=2), 12) != one
    late = TrainDataset(store, text, config, seed=1)
    assert late.get_clip_ids(11) == one[11]


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_change_nothing(store: Store, text: TextTokenizer, workers: int) -> None:
    plain = TrainDataset(store, text, BatchConfig(batch_size=8), seed=1)
    config = BatchConfig(batch_size=8, loader_workers=workers)
    loaded = list(TrainDataset(store, text, config, seed=1).build_loader(2, 7))
    assert [b.clip_ids for b in loaded] == [plain.get_clip_ids(p) for p in range(2, 7)]
    for batch, position in zip(loaded, range(2, 7), strict=True):
        np.testing.assert_array_equal(batch.labels_BL, plain[position].labels_BL)
        np.testing.assert_array_equal(batch.streams["pose"], plain[position].streams["pose"])


def test_ranks_share_one_stream(store: Store, text: TextTokenizer) -> None:
    config = BatchConfig(batch_size=4)
    whole = ids(TrainDataset(store, text, config, seed=1), 12)
    ranks = [TrainDataset(store, text, config, 1, rank=r, world_size=2) for r in range(2)]
    assert [s.get_clip_ids(p) for p in range(6) for s in ranks] == whole


def draw_lengths(kind: str) -> list[int]:
    """Draw lengths of clips in frames; those of real corpora have a long tail."""
    rng = np.random.default_rng(0)
    if kind == "even":
        return rng.integers(50, 200, 2000).tolist()
    return rng.lognormal(4.6, 0.6, 2000).clip(10, 700).astype(int).tolist()


def measure_padding(batches: Sequence[Sequence[int]], lengths: Sequence[int]) -> float:
    """Measure the share of padding in batches that are as long as their longest clip."""
    num_frames = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths) / num_frames


@pytest.mark.parametrize("kind", ["even", "long tail"])
def test_batches_of_similar_lengths_have_little_padding(kind: str) -> None:
    """Clips in random order would be padded to several times as much."""
    lengths = draw_lengths(kind)
    plan = plan_epoch(lengths, BatchConfig(max_frames=4096), seed=3, epoch=0)
    assert all(len(batch) * max(lengths[i] for i in batch) <= 4096 for batch in plan)
    assert sorted(i for batch in plan for i in batch) == list(range(2000))
    size = 2000 // len(plan)
    drawn = [range(first, min(first + size, 2000)) for first in range(0, 2000, size)]
    assert measure_padding(plan, lengths) < 0.05 and measure_padding(drawn, lengths) > 0.3


def test_a_batch_is_padded_to_its_longest_clip(store: Store, text: TextTokenizer) -> None:
    stream = TrainDataset(store, text, BatchConfig(batch_size=4), seed=1)
    lengths = {record.clip.id: record.lengths["pose"] for record in store.get_records("train")}
    seen = set()
    for batch in (stream[position] for position in range(6)):
        num_frames = [lengths[clip_id] for clip_id in batch.clip_ids]
        assert batch.streams["pose"].shape[:2] == (4, max(num_frames))
        assert batch.frame_masks["pose"].sum(axis=1).tolist() == num_frames
        seen |= set(num_frames)
    assert len(seen) > 1  # otherwise nothing was padded


def test_steps_do_not_go_from_short_to_long() -> None:
    lengths = list(range(10, 1010))
    plan = plan_epoch(lengths, BatchConfig(batch_size=10), seed=0, epoch=0)
    means = [float(np.mean([lengths[i] for i in batch])) for batch in plan]
    assert abs(float(np.corrcoef(means, range(len(means)))[0, 1])) < 0.3


def test_limits_are_counted_and_spare_test(store: Store, text: TextTokenizer) -> None:
    lengths = sorted(r.lengths["pose"] for r in store.get_records("train"))
    config = BatchConfig(batch_size=4, min_clip_frames=lengths[3] + 1, max_clip_frames=lengths[-3])
    stream = TrainDataset(store, text, config, seed=1)
    assert stream.dropped_counts["too_short"] >= 3
    kept = len(store.get_records("train")) - sum(stream.dropped_counts.values())
    assert len({i for batch in ids(stream, -(-kept // 4)) for i in batch}) == kept
    all_test = build_eval_batches(store, "test", text, 10_000, batch_config=config)
    assert sum(b.num_clips for b in all_test) == len(store.get_records("test"))


def test_impossible_limits_are_refused(store: Store, text: TextTokenizer) -> None:
    with pytest.raises(InputError, match="min_clip_frames"):
        TrainDataset(store, text, BatchConfig(batch_size=4, min_clip_frames=10_000), seed=1)
    with pytest.raises(InputError, match="max_clip_frames"):
        TrainDataset(store, text, BatchConfig(max_frames=5), seed=1)
    with pytest.raises(StoreError, match="no split `dev`"):
        build_eval_batches(store, "dev", text, 100)


def test_ablations(store: Store, text: TextTokenizer) -> None:
    plain = TrainDataset(store, text, BatchConfig(batch_size=8), seed=1)
    blank = TrainDataset(store, text, BatchConfig(batch_size=8, ablation="zeros"), seed=1)
    assert float(blank[0].streams["pose"].abs().max()) == 0
    assert float(plain[0].streams["pose"].abs().max()) > 0
    wrong = TrainDataset(store, text, BatchConfig(batch_size=8, ablation="shuffled"), seed=1)
    pairs = [(plain[p], wrong[p]) for p in range(4)]
    assert all(a.clip_ids == b.clip_ids for a, b in pairs)
    rows = [
        (x.tolist(), y.tolist())
        for a, b in pairs
        for x, y in zip(a.labels_BL, b.labels_BL, strict=True)
    ]
    strip = [([i for i in x if i != IGNORE], [i for i in y if i != IGNORE]) for x, y in rows]
    assert all(x != y for x, y in strip)


def test_evaluation_is_one_fixed_list(store: Store, text: TextTokenizer) -> None:
    whole = [b.clip_ids for b in build_eval_batches(store, "train", text, 200)]
    parts = [build_eval_batches(store, "train", text, 200, rank=r, world_size=3) for r in range(3)]
    assert [parts[i % 3][i // 3].clip_ids for i in range(len(whole))] == whole
    some = build_eval_batches(store, "train", text, 200, max_clips=5)
    assert sum(b.num_clips for b in some) == 5
    clip = store.get_records("train")[0].clip
    assert get_references(store, "train", [clip.id]) == {clip.id: clip.texts}


def test_labels_are_prompt_text_end(store: Store, text: TextTokenizer) -> None:
    batch = TrainDataset(store, text, BatchConfig(batch_size=8), seed=1)[0]
    by_id = {r.clip.id: r.clip for r in store.get_records("train")}
    for clip_id, row in zip(batch.clip_ids, batch.labels_BL.tolist(), strict=True):
        real = [i for i in row if i != IGNORE]
        assert real[-1] == text.vocabulary.eos_id
        assert text.decode(real) == by_id[clip_id].texts[0]


def test_tokenizers_are_equal_to_the_byte(store: Store, tmp_path: Path) -> None:
    for algorithm in ("unigram", "bpe", "word"):
        config = TrainedTokenizerConfig(algorithm=algorithm, size=200)  # type: ignore[arg-type]
        for name in ("a", "b"):
            build_tokenizer(config, store.get_records("train"), None).save(
                tmp_path / algorithm / name
            )
        files = sorted((tmp_path / algorithm / "a").iterdir())
        assert files
        for file in files:
            assert file.read_bytes() == (tmp_path / algorithm / "b" / file.name).read_bytes()
        said = TextTokenizer.load(tmp_path / algorithm / "a")
        sentence = store.get_records("train")[0].clip.texts[0]
        assert said.decode(said.encode_target("", sentence)) == sentence


VARIED = {"drop_frames": 0.1, "speed": 0.3, "mirror": 0.5, "rotation_deg": 8, "noise": 0.02}


def test_augmented_batches_keep_the_budget_and_differ_by_epoch(
    store: Store, text: TextTokenizer
) -> None:
    longest = max(record.lengths["pose"] for record in store.get_records("train"))
    config = BatchConfig.model_validate({"max_frames": 3 * longest, "augmentation": VARIED})
    stream = TrainDataset(store, text, config, seed=1)
    again = TrainDataset(store, text, config, seed=1)
    seen: dict[str, list[float]] = {}
    for position in range(40):
        batch = stream[position]
        assert batch.num_padded_frames <= 3 * longest
        np.testing.assert_array_equal(batch.streams["pose"], again[position].streams["pose"])
        for n, clip_id in enumerate(batch.clip_ids):
            seen.setdefault(clip_id, []).append(float(batch.streams["pose"][n, 0].sum()))
    assert min(len(sums) for sums in seen.values()) >= 3, "several epochs"
    assert all(len(set(sums)) == len(sums) for sums in seen.values())
    assert stream.compute_padding_share(40) < 0.1


def test_what_is_scored_is_never_varied(store: Store, text: TextTokenizer) -> None:
    config = BatchConfig.model_validate({"batch_size": 8, "augmentation": VARIED})
    plain = build_eval_batches(store, "validation", text, 4096)
    varied = build_eval_batches(store, "validation", text, 4096, batch_config=config)
    for one, other in zip(plain, varied, strict=True):
        np.testing.assert_array_equal(one.streams["pose"], other.streams["pose"])


def test_augmentation_is_the_same_in_any_loader(store: Store, text: TextTokenizer) -> None:
    config = BatchConfig.model_validate(
        {"batch_size": 8, "augmentation": VARIED, "loader_workers": 2}
    )
    stream = TrainDataset(store, text, config, seed=1)
    for position, batch in zip(range(3, 9), stream.build_loader(3, 9), strict=True):
        np.testing.assert_array_equal(batch.streams["pose"], stream[position].streams["pose"])


@pytest.mark.parametrize("budget", [{"batch_size": 10}, {"max_frames": 600}])
def test_each_epoch_has_an_order_of_its_own(budget: dict[str, int]) -> None:
    lengths, config = [50 + n % 7 for n in range(60)], BatchConfig.model_validate(budget)
    first, second = (plan_epoch(lengths, config, seed=0, epoch=epoch) for epoch in (0, 1))
    assert first != second
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
