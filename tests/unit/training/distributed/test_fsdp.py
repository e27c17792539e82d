"""FSDP: the model is really cut, learns what plain data parallelism learns, and resumes.

Sharded weights equal whole ones but for rounding, and not to the bit: the vector kernel of fused
AdamW rounds a tensor's last elements otherwise than the others, and a shard ends elsewhere.
"""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ConfigError
from kinesweep.store import Store
from ranks import run_ranks
from tolerances import FLOAT64, assert_same_weights

pytestmark = pytest.mark.integration

TRAIN = """
from torch.distributed.fsdp import FSDPModule
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.distributed import fsdp
from kinesweep.training.loop.run import RunSpec, train_run

shares = {}
class Watched(fsdp.ShardedTrainer):
    def gather_full_model(self):
        model = self.model
        shares["own"] = sum(p.to_local().numel() for p in model.parameters())
        shares["all"] = sum(p.numel() for p in model.parameters())
        shares["cut"] = sum(isinstance(m, FSDPModule) for m in model.modules())
        return super().gather_full_model()

from kinesweep.training.loop import components
components.ShardedTrainer = Watched
asked, store, folder, last = sys.argv[1:]
recipe = Recipe.model_validate_json(Path(asked).read_text())
spec = RunSpec(recipe, Path(store), Path(folder))
result = train_run(spec, NullRunLogger(), lambda metrics: metrics["step"] < int(last))
print(json.dumps({**result.to_json(), "shares": shares}))
"""

DROPPED_LAYERS = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {"layers": 3, "layerdrop": 0.4}.items()
}


def train(
    corpus: Path,
    store: Store,
    folder: Path,
    last: int = 999,
    script: str = TRAIN,
    scratch: dict[str, Any] | None = None,
    **training: Any,
) -> list[dict[str, Any]]:
    plain = tiny_recipe(
        corpus,
        store.folder.parent,
        training={"learning_rate": 5e-3, "gradient_accumulation_steps": 2, **training},
        resources={"workers": 2},
    ).model_dump()
    plain["model"]["backbone"]["scratch"] |= scratch or {}
    recipe = Recipe.model_validate(plain)
    asked = folder.with_suffix(".json")
    asked.write_text(recipe.model_dump_json())
    return run_ranks(script, [str(asked), str(store.folder), str(folder), str(last)], 2)


def test_shards_learn_what_whole_models_learn(corpus: Path, store: Store, tmp_path: Path) -> None:
    script = FLOAT64 + TRAIN
    plain = train(corpus, store, tmp_path / "plain", script=script)
    first, second = train(corpus, store, tmp_path / "sharded", script=script, fsdp=True)
    assert plain[0]["shares"] == {}
    shares = [rank.pop("shares") for rank in (first, second)]
    assert first["scores"] == second["scores"] and first["step"] == 12
    assert [share["cut"] for share in shares] == [3, 3], "two layers, and what is left"
    assert sum(share["own"] for share in shares) == shares[0]["all"] == shares[1]["all"]
    assert all(0.3 < share["own"] / share["all"] < 0.7 for share in shares)
    whole = load_file(tmp_path / "plain/best/model.safetensors")
    cut = load_file(tmp_path / "sharded/best/model.safetensors")
    assert_same_weights(cut, whole)


@pytest.mark.slow
def test_stopped_and_resumed_is_uninterrupted(corpus: Path, store: Store, tmp_path: Path) -> None:
    """Also where layers are skipped at random: workers that skip others would end with an error."""
    options: dict[str, Any] = {"scratch": DROPPED_LAYERS, "fsdp": True}
    whole, _ = train(corpus, store, tmp_path / "whole", **options)
    stopped, _ = train(corpus, store, tmp_path / "parts", last=8, **options)
    assert (stopped["status"], stopped["step"]) == ("stopped", 8)
    resumed, _ = train(corpus, store, tmp_path / "parts", **options)
    assert resumed["step"] == 12 and resumed["weights_sha256"] == whole["weights_sha256"] != ""


@pytest.mark.slow
def test_skipped_layers_have_no_gradients_to_wait_for(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    """Plain data parallelism, where each worker skips layers of its own."""
    options = {"activation_checkpointing": True, "max_steps": 4}
    first, second = train(corpus, store, tmp_path / "run", scratch=DROPPED_LAYERS, **options)
    assert first["weights_sha256"] == second["weights_sha256"] != ""


def test_one_worker_has_nothing_to_share(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"resources.workers"):
        tiny_recipe(corpus, tmp_path, training={"fsdp": True})
