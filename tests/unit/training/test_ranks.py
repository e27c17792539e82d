"""Several processes score as one does: the same texts and bits, every clip counted once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from kinesweep.core.runlog import NullRunLog
from kinesweep.store import Store
from kinesweep.training.run import RunSpec, train_run

ROOT = Path(__file__).resolve().parents[3]
RANK = """
import json, sys
from pathlib import Path
import torch.distributed as dist
from kinesweep.store import open_store
from kinesweep.training.evaluate import evaluate_model
folder, store, meeting, rank, world = sys.argv[1:]
dist.init_process_group("gloo", f"file://{meeting}", rank=int(rank), world_size=int(world))
found = evaluate_model(Path(folder), open_store(Path(store)), "validation")
lines = [[line.clip_id, line.hypothesis] for line in found.predictions]
print(json.dumps({"scores": found.scores, "lines": lines}))
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def model(corpus: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained one; batches of few frames, so that every rank has several."""
    folder = tmp_path_factory.mktemp("ranks") / "run"
    few = {"max_steps": 60, "eval_steps": 30, "learning_rate": 5e-3}
    recipe = tiny_recipe(corpus, store.folder.parent, training=few, evaluation={"max_frames": 128})
    train_run(RunSpec(recipe, store.folder, folder), NullRunLog(), lambda _: True)
    return folder / "best"


def evaluated(model: Path, store: Store, meeting: Path, world: int) -> list[dict[str, Any]]:
    """What each of `world` processes says."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, model, store.folder, meeting, str(rank), str(world)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    said = [process.communicate(timeout=240) for process in ranks]
    assert not any(process.returncode for process in ranks), said
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def test_any_number_of_ranks_scores_alike(model: Path, store: Store, tmp_path: Path) -> None:
    (alone,) = evaluated(model, store, tmp_path / "one", 1)
    ids = [clip_id for clip_id, _ in alone["lines"]]
    assert sorted(ids) == sorted(record.clip.id for record in store.records("validation"))
    for world in (2, 3):
        for rank in evaluated(model, store, tmp_path / f"of {world}", world):
            assert rank == alone
