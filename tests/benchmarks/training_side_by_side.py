"""Training beside a stock `Seq2SeqTrainer`: both whole commands in turn, on the same corpus.

An M2M-100 of 7.7 million parameters from scratch on clips of 50 to 200 frames with 534 values a
frame, 8 clips a step, float32. Both sides evaluate the same 64 validation clips with greedy
decoding at the same steps, keep the best and the last checkpoint, and score the best model on
validation and test at the end. `kinesweep train --no-ray` reads features that were extracted once;
the seconds of this extraction are stated apart. `stock_trainer.py` decodes the poses each epoch.

    python tests/benchmarks/training_side_by_side.py CORPUS --steps 200 --rounds 5

CORPUS is a folder with train.tsv, validation.tsv and test.tsv in MultimodalHugs' format.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import SPLITS
from kinesweep.core.io import write_text
from kinesweep.store.extraction.build import extract_locally

MIN_FRAMES, MAX_FRAMES = 50, 200
_STOCK_SCRIPT = Path(__file__).with_name("stock_trainer.py")


def build_recipe(corpus: Path, media: Path, root: Path, steps: int, threads: int) -> Recipe:
    """Build the recipe of our side; its model has the size of the other side's.

    Args:
        corpus: Folder of the tables.
        media: Folder of the pose files.
        root: Folder for the store.
        steps: Number of optimizer steps.
        threads: Number of threads.
    """
    scratch: dict[str, object] = {"architecture": "m2m_100", "d_model": 256}
    for side in ("encoder", "decoder"):
        scratch |= {f"{side}_layers": 3, f"{side}_ffn_dim": 1664, f"{side}_attention_heads": 4}
    plain = {
        "name": "training_side_by_side",
        "source": {split: str(corpus / f"{split}.tsv") for split in SPLITS}
        | {"root": str(media.absolute())},
        "store": {"root": str(root / "stores")},
        "batch": {"batch_size": 8},
        "model": {
            "backbone": {"scratch": scratch},
            "tokenizer": {"kind": "train", "algorithm": "bpe", "size": 512},
        },
        "training": {"max_steps": steps, "eval_steps": steps // 2, "learning_rate": 5e-4},
        "generation": {"num_beams": 1, "max_new_tokens": 40},
        "evaluation": {"metrics": ["bleu"]},
        "resources": {"cpus": threads},
        "tracking": "none",
    }
    return Recipe.model_validate(plain)


def write_filtered_corpus(corpus: Path, target: Path, num_clips: int) -> None:
    """Write tables of the clips of 50 to 200 frames, so that neither side has to filter.

    Args:
        corpus: Corpus folder.
        target: Folder of the new tables, whose paths of pose files are absolute.
        num_clips: Largest number of training clips; the other splits keep at most 64.
    """
    from pose_format import Pose

    target.mkdir(parents=True)
    for split in SPLITS:
        with (corpus / f"{split}.tsv").open(encoding="utf-8") as table:
            reader = csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
            names, rows = reader.fieldnames or (), list(reader)
        kept: list[dict[str, str]] = []
        for row in rows:
            path = (corpus / row["signal"]).absolute()
            num_frames = len(Pose.read(path.read_bytes()).body.data)
            if MIN_FRAMES <= num_frames <= MAX_FRAMES:
                kept.append(row | {"signal": str(path)})
            if len(kept) == (num_clips if split == "train" else 64):
                break
        lines = ["\t".join(names), *("\t".join(row.values()) for row in kept)]
        write_text(target / f"{split}.tsv", "\n".join(lines) + "\n")


def time_command(command: Sequence[str], env: dict[str, str]) -> tuple[float, float, Any]:
    """Run a command; returns its seconds, its CPU seconds, and the JSON of its last line."""
    cpu_before = os.times()
    started = time.perf_counter()
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    seconds = time.perf_counter() - started
    cpu_after = os.times()
    cpu_seconds = sum(cpu_after[2:4]) - sum(cpu_before[2:4])
    return seconds, cpu_seconds, json.loads(done.stdout.splitlines()[-1])


def run_round(recipe: Recipe, corpus: Path, steps: int, threads: int) -> dict[str, Any]:
    """Run both sides once, ours first; returns the seconds and scores of both."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_text(root / "recipe.yaml", format_recipe_yaml(recipe))
        ours = [sys.executable, "-m", "kinesweep", "train", str(root / "recipe.yaml"), "--no-ray"]
        ours += ["--json", "--folder", str(root / "run")]
        seconds, cpu_seconds, result = time_command(ours, {**env, "KINESWEEP_HOME": str(root)})
        stock = [sys.executable, str(_STOCK_SCRIPT), "--corpus", str(corpus)]
        stock += ["--out", str(root / "stock"), "--steps", str(steps)]
        stock += ["--eval-steps", str(steps // 2), "--threads", str(threads)]
        stock_seconds, stock_cpu_seconds, stock_result = time_command(stock, env)
    return {
        "ours_s": round(seconds, 1),
        "ours_cpu_s": round(cpu_seconds, 1),
        "ours_bleu": round(result["scores"]["bleu"], 2),
        "stock_s": round(stock_seconds, 1),
        "stock_cpu_s": round(stock_cpu_seconds, 1),
        "stock_bleu": round(stock_result["validation_bleu"], 2),
        "ratio": round(stock_seconds / seconds, 3),
    }


def main() -> None:
    """Print a line of JSON for each round and one with the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder with the TSVs")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps")
    parser.add_argument("--clips", type=int, default=403, help="largest number of training clips")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        corpus = root / "corpus"
        write_filtered_corpus(args.corpus, corpus, args.clips)
        recipe = build_recipe(corpus, args.corpus, root, args.steps, args.threads)
        started = time.perf_counter()
        store = extract_locally(recipe)
        extraction_seconds = round(time.perf_counter() - started, 1)
        rounds = []
        for _ in range(args.rounds):
            rounds.append(run_round(recipe, corpus, args.steps, args.threads))
            print(json.dumps(rounds[-1]), flush=True)
        ratios = [each["ratio"] for each in rounds]
        summary = {
            "steps": args.steps,
            "train_clips": len(store.get_records("train")),
            "extraction_s": extraction_seconds,
            **{
                f"median_{name}": statistics.median(each[name] for each in rounds)
                for name in ("ours_s", "stock_s", "ratio")
            },
            "ratio_range": [min(ratios), max(ratios)],
        }
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
