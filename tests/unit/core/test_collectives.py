"""Several processes score as one does: the same texts and bits, every clip counted once."""

from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run
from ranks import run_ranks

pytestmark = pytest.mark.integration

EVALUATE = """
from kinesweep.store import open_store
from kinesweep.evaluation.evaluate import evaluate_model
found = evaluate_model(Path(sys.argv[1]), open_store(Path(sys.argv[2])), "validation")
lines = [[line.clip_id, line.hypothesis] for line in found.predictions]
print(json.dumps({"scores": found.scores, "lines": lines}))
"""


@pytest.fixture(scope="module")
def model(corpus: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained one; batches of few frames, so that every rank has several."""
    folder = tmp_path_factory.mktemp("ranks") / "run"
    few = {"max_steps": 40, "eval_steps": 40, "learning_rate": 5e-3}
    recipe = tiny_recipe(corpus, store.folder.parent, training=few, evaluation={"max_frames": 128})
    train_run(RunSpec(recipe, store.folder, folder), NullRunLogger(), lambda _: True)
    return folder / "best"


def test_any_number_of_ranks_scores_alike(model: Path, store: Store) -> None:
    arguments = [str(model), str(store.folder)]
    (alone,) = run_ranks(EVALUATE, arguments, 1)
    ids = [clip_id for clip_id, _ in alone["lines"]]
    assert sorted(ids) == sorted(record.clip.id for record in store.get_records("validation"))
    assert 0 < alone["scores"]["token_accuracy"] < 100
    for world in (2, 3):
        assert run_ranks(EVALUATE, arguments, world) == [alone] * world
