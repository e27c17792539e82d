"""A sweep over seeds varies the first weights and the order of the data; worker counts neither."""

from pathlib import Path

import torch

from kinesweep.config.recipe import Recipe
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.store import Store
from kinesweep.training.loop.run import write_initial_model
from kinesweep.training.reproducibility.determinism import seed_dropout

SEEDS = (1, 2, 3, 4, 5)


def first_weights(recipe: Recipe, store: Store, folder: Path) -> str:
    write_initial_model(recipe, store, folder)
    return compute_file_sha256(folder / "model.safetensors")


def order(
    recipe: Recipe, store: Store, text: TextTokenizer, workers: int, ranks: int
) -> list[list[str]]:
    """The clips of the first steps, those of all ranks together, as they leave the loaders."""
    config = recipe.batch.model_copy(update={"loader_workers": workers})
    seed = recipe.training.seed
    streams = [TrainDataset(store, text, config, seed, rank, ranks) for rank in range(ranks)]
    loaded = [list(stream.build_loader(0, 12 // ranks)) for stream in streams]
    return [list(batch.clip_ids) for step in zip(*loaded, strict=True) for batch in step]


def test_seeds_vary_weights_and_order(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    own = {
        seed: first_weights(recipe.with_seed(seed), store, tmp_path / f"{seed}") for seed in SEEDS
    }
    assert len(set(own.values())) == len(SEEDS)
    text = TextTokenizer.load(tmp_path / "1")
    orders = {seed: order(recipe.with_seed(seed), store, text, 0, 1) for seed in SEEDS}
    assert len({str(one) for one in orders.values()}) == len(SEEDS)
    again = first_weights(recipe.with_seed(1), store, tmp_path / "again")
    assert again == own[1] and order(recipe.with_seed(1), store, text, 0, 1) == orders[1]


def test_workers_vary_neither(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    plain = first_weights(recipe, store, tmp_path / "plain")
    batch = recipe.batch.model_copy(update={"loader_workers": 2})
    resources = recipe.resources.model_copy(update={"workers": 2})
    more = recipe.model_copy(update={"batch": batch, "resources": resources})
    assert first_weights(more, store, tmp_path / "more") == plain
    text = TextTokenizer.load(tmp_path / "plain")
    alone = order(recipe, store, text, 0, 1)
    for workers, ranks in ((2, 1), (0, 2), (2, 3)):
        assert order(recipe, store, text, workers, ranks) == alone


def test_seeds_and_ranks_have_dropout_of_their_own() -> None:
    def noise(seed: int, rank: int) -> tuple[float, ...]:
        seed_dropout(seed, rank)
        return tuple(torch.rand(4).tolist())

    assert len({noise(seed, rank) for seed in SEEDS for rank in range(3)}) == 3 * len(SEEDS)
    assert noise(1, 2) == noise(1, 2)
