"""Real boxing: embeddings keep the order of a punch in athletes who were not trained on.

A convolution pads the ends of a clip with zeros, from which a frame knows how far it is from an
end; order by that alone says nothing about motions. So clips are scored with their first and last
frame repeated besides, and against joints that see as many frames as the network does.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.loading import load_config
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.kendall_tau import compute_mean_tau, select_clip_pairs
from kinesweep.features.frame_embedder_io import read_embedder
from kinesweep.sources.splitting.cross_validation import write_folds
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.frame_embedding.run import EmbedderSpec, train_embedder
from real.test_boxing import BOXING, ROOT, config, pytestmark  # noqa: F401

STEPS, SIGHT = 60, 12


def stretched(x_TD: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Its first and last frame so many times more."""
    return np.pad(x_TD, ((by, by), (0, 0)), mode="edge")


def in_sight(x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Beside each frame all that are at most `SIGHT` away."""
    padded = stretched(x_TD, SIGHT)
    return np.concatenate([padded[i : i + len(x_TD)] for i in range(2 * SIGHT + 1)], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("fold", [0, 1, 2])
def test_embeddings_keep_the_order_of_a_punch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: int
) -> None:
    write_folds(config(), by="signer", num_folds=3, seed=0, out=tmp_path / "folds")
    monkeypatch.setenv("KINESWEEP_BOXING", str(BOXING))
    monkeypatch.setenv("KINESWEEP_BOXING_FOLD", str(tmp_path / "folds" / f"fold-{fold}"))
    short = [f"training.max_steps={STEPS}", "training.eval_steps=20", f"store.root={tmp_path}/s"]
    recipe = load_config(
        EmbeddingRecipe, ROOT / "jobs" / "recipes" / "motion2text_align.yaml", short
    )
    store = extract_locally(recipe.corpus_recipe)
    spec = EmbedderSpec(recipe, store.folder, tmp_path / "run")
    result = train_embedder(spec, NullRunLogger(), lambda _: True)
    embed = read_embedder(tmp_path / "run" / "best")
    records = store.get_records("validation")
    clips = [np.array(store.get_features(record)["pose"], np.float32) for record in records]
    pairs = select_clip_pairs(records, 200, "validation")
    tau = {
        "joints": compute_mean_tau(clips, pairs),
        "joints, 25 frames": compute_mean_tau([in_sight(x_TD) for x_TD in clips], pairs),
        "embedded": compute_mean_tau([embed(x_TD) for x_TD in clips], pairs),
        "embedded, ends stretched": compute_mean_tau(
            [embed(stretched(x_TD, 24))[24:-24] for x_TD in clips], pairs
        ),
    }
    shown = ", ".join(f"{name} {value:.3f}" for name, value in tau.items())
    print(f"fold {fold}, best at step {result.best_step}: {shown}")
    assert tau["embedded"] == pytest.approx(result.scores["tau"], abs=2e-3)
    assert tau["embedded, ends stretched"] > tau["joints"] + 0.15
    assert tau["embedded, ends stretched"] > tau["joints, 25 frames"]
