"""Beam search of a whole split in batches beside one clip at a time; both decode the same texts.

An M2M-100 of 7.7 million parameters, briefly trained on the sample corpus, 5 beams. The batches are
those of an evaluation, of clips of similar length.

    python tests/benchmarks/batched_decoding.py --rounds 5
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run

_SIDES = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {"layers": 3, "ffn_dim": 1664, "attention_heads": 4}.items()
}


def train_model(folder: Path, clips: int) -> tuple[LoadedModel, Store]:
    """Train the model for a few steps, so that its texts end; returns it and its features."""
    scratch = {"architecture": "m2m_100", "d_model": 256, **_SIDES}
    recipe = tiny_recipe(
        tiny_corpus(folder, clips),
        folder / "stores",
        model={"backbone": {"kind": "seq2seq", "scratch": scratch}},
        training={"max_steps": 60, "eval_steps": 60},
        generation={"num_beams": 5, "max_new_tokens": 40},
    )
    store = extract_locally(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    return read_model_folder(folder / "run" / "best"), store


def time_decoding(loaded: LoadedModel, store: Store, max_frames: int) -> tuple[float, list[str]]:
    """Decode train's clips in batches of at most so many frames; returns seconds and texts."""
    batches = build_eval_batches(store, "train", loaded.tokenizer, max_frames)
    started = time.perf_counter()
    texts = decode_batches(loaded.model, loaded.tokenizer, batches, 5, loaded.recipe.generation)
    return time.perf_counter() - started, [text for _, text in sorted(texts.items())]


def main() -> None:
    """Print a line of JSON for each round and one with the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200, help="clips of the sample corpus")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        loaded, store = train_model(Path(folder), args.clips)
        loaded.model.eval()
        for _ in range(args.rounds):
            batched_seconds, batched = time_decoding(
                loaded, store, loaded.recipe.evaluation.max_frames
            )
            single_seconds, single = time_decoding(loaded, store, 1)
            ratios.append(single_seconds / batched_seconds)
            line = {
                "clips": len(batched),
                "batched_s": round(batched_seconds, 2),
                "one_by_one_s": round(single_seconds, 2),
                "ratio": round(ratios[-1], 2),
                "equal_texts": sum(map(str.__eq__, batched, single)),
            }
            print(json.dumps(line), flush=True)
    print(json.dumps({"median_ratio": round(statistics.median(ratios), 2)}))


if __name__ == "__main__":
    main()
