"""Samples a second of the whole `kinesweep train` command, start, evaluations and result included.

An M2M-100 of 7.7 million parameters from scratch, batches of 8 clips, float32, 2 threads, 2
evaluations; features are extracted before, which is done once for all runs. The same beside a stock
trainer is in `training_side_by_side.py`.

    python tests/benchmarks/throughput.py [CORPUS]     # a folder of TSVs; default: the sample's
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import SPLITS
from kinesweep.core.io import write_text
from kinesweep.data.text_tokenizer import build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.sources.synthetic import write_sample_corpus
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.format.reader import Store

SHORTEST, LONGEST, STEPS = 50, 200, 640


def recipe_for(corpus: Path, root: Path) -> Recipe:
    """The recipe on a corpus; a corpus of shorter clips is taken as it is."""
    scratch: dict[str, object] = {"architecture": "m2m_100", "d_model": 256}
    for side in ("encoder", "decoder"):
        scratch |= {f"{side}_layers": 3, f"{side}_ffn_dim": 1664, f"{side}_attention_heads": 4}
    plain = {
        "name": "throughput",
        "source": {split: str(corpus / f"{split}.tsv") for split in SPLITS},
        "store": {"root": str(root / "stores")},
        "batch": {"batch_size": 8},
        "model": {
            "backbone": {"scratch": scratch},
            "tokenizer": {"kind": "train", "algorithm": "bpe", "size": 512},
        },
        "training": {"max_steps": STEPS, "eval_steps": STEPS // 2, "learning_rate": 5e-4},
        "generation": {"num_beams": 1, "max_new_tokens": 40},
        "evaluation": {"during_training": {"max_clips": 64}},
        "resources": {"cpus": 2},
        "tracking": "none",
    }
    plain["source"]["max_clips"] = 1024
    lengths = lengths_of(extract_locally(Recipe.model_validate(plain)))
    if lengths[len(lengths) // 2] >= SHORTEST:
        plain["batch"] |= {"min_clip_frames": SHORTEST, "max_clip_frames": LONGEST}
    return Recipe.model_validate(plain)


def lengths_of(store: Store) -> list[int]:
    """Frames of the training clips, sorted."""
    return sorted(record.lengths["pose"] for record in store.get_records("train"))


def timed(recipe: Recipe, root: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of the command, and its result."""
    write_text(root / "recipe.yaml", format_recipe_yaml(recipe))
    env = {**os.environ, "OMP_NUM_THREADS": "2", "KINESWEEP_HOME": str(root)}
    command = [sys.executable, "-m", "kinesweep", "train", str(root / "recipe.yaml"), "--no-ray"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--json", "--folder", str(root / "run")], env=env, stdout=-1, check=True
    )
    return time.perf_counter() - started, json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else root / "corpus"
        if len(sys.argv) == 1:
            write_sample_corpus(corpus, clips=600)
        recipe = recipe_for(corpus, root)
        store = extract_locally(recipe)
        text = build_tokenizer(recipe.model.tokenizer, store.get_records("train"), None)
        stream = TrainDataset(store, text, recipe.batch, recipe.training.seed)
        seconds, result = timed(recipe, root)
        lengths = lengths_of(store)
        said = {
            "samples_per_s": round(result["samples"] / seconds, 1),
            "padding_share": round(stream.compute_padding_share(STEPS), 4),
            "parameters": result["costs"]["parameters"],
            "samples": result["samples"],
            "seconds": round(seconds, 1),
            "frames_5_50_95": [lengths[len(lengths) * p // 100] for p in (5, 50, 95)],
        }
        print(json.dumps(said))


if __name__ == "__main__":
    main()
