"""A step takes two batches here, so steps and batches are counted apart."""

from pathlib import Path

from corpus import tiny_recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run


def test_a_stopped_run_reads_on_where_it_stopped(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    training = {"gradient_accumulation_steps": 2, "max_steps": 4, "eval_steps": 2}
    recipe = tiny_recipe(corpus, store.folder.parent, training=training)
    whole = train_run(
        RunSpec(recipe, store.folder, tmp_path / "a"), NullRunLogger(), lambda _: True
    )
    spec = RunSpec(recipe, store.folder, tmp_path / "b")
    stopped = train_run(spec, NullRunLogger(), lambda _: False)
    assert (stopped.status, stopped.step) == ("stopped", 2)
    ended = train_run(spec, NullRunLogger(), lambda _: True)
    assert ended.samples == whole.samples
    assert ended.weights_sha256 == whole.weights_sha256
