"""Translation with and without the alignment stage, at equal total steps and over several seeds.

With the stage, a model is trained for the steps of the alignment recipe and then for those of the
translation recipe; without it, it translates for the sum of both. Scores are those of the whole
validation split. Runs in the output folder that are finished are not trained again.

    python tests/benchmarks/alignment_stage.py ALIGN TRANSLATE [--seeds 1,2,3] [--out FOLDER]
        [--align key=value …] [--translate key=value …] [--both key=value …]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe

RETRIEVAL = ("sign_to_text_r1", "text_to_sign_r1", "chance_r1")


def train(recipe: Path, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The result of a run; its log lies beside its folder."""
    command = [sys.executable, "-m", "kinesweep", "train", str(recipe), "--no-ray", "--json"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("a") as log:
        done = subprocess.run(
            [*command, "--folder", str(folder), "tracking=none", *overrides],
            env={"OMP_NUM_THREADS": "1", **os.environ},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    if done.returncode:
        sys.exit(f"the run in {folder} failed; see {folder.with_suffix('.log')}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(asked: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Scores of one seed without the stage, of the stage, and with it."""
    shared = [*asked.both, f"training.seed={seed}"]
    steps = {
        name: load_config(Recipe, path, [*asked.both, *more]).training.max_steps or 0
        for name, path, more in (
            ("align", asked.align_recipe, asked.align),
            ("translate", asked.translate_recipe, [*asked.translate, "model.init_from=null"]),
        )
    }
    out: Path = asked.out
    total = f"training.max_steps={sum(steps.values())}"
    without = train(
        asked.translate_recipe,
        out / f"without-{seed}",
        [*shared, *asked.translate, "model.init_from=null", total],
    )
    stage = train(asked.align_recipe, out / f"align-{seed}", [*shared, *asked.align])
    first = f"model.init_from={(out / f'align-{seed}' / 'best').absolute()}"
    second = train(asked.translate_recipe, out / f"with-{seed}", [*shared, *asked.translate, first])
    return {"without": without["scores"], "align": stage["scores"], "with": second["scores"]}


def table(rows: dict[int, dict[str, dict[str, float]]]) -> str:
    """A Markdown table: seeds, then means with standard deviations, then the differences."""
    names = [name for name in next(iter(rows.values()))["without"] if name != "token_accuracy"]
    heads = [f"{name} {way}" for name in names for way in ("without", "with")]
    lines = [f"| seed | {' | '.join(heads)} | {' | '.join(RETRIEVAL)} |"]
    lines.append("|" + "---|" * (1 + len(heads) + len(RETRIEVAL)))
    for seed, scores in rows.items():
        values = [scores[way][name] for name in names for way in ("without", "with")]
        values += [scores["align"][name] for name in RETRIEVAL]
        lines.append(f"| {seed} | {' | '.join(f'{value:.2f}' for value in values)} |")
    means = [
        format_mean([scores[way][name] for scores in rows.values()])
        for name in names
        for way in ("without", "with")
    ]
    found = [format_mean([s["align"][name] for s in rows.values()]) for name in RETRIEVAL]
    lines.append(f"| mean | {' | '.join([*means, *found])} |")
    for name in names:
        gaps = [scores["with"][name] - scores["without"][name] for scores in rows.values()]
        lines.append(f"\n{name}, with minus without: {format_mean(gaps)}")
    return "\n".join(lines)


def format_mean(values: list[float]) -> str:
    """Mean and standard deviation of the seeds."""
    return f"{fmean(values):.2f} ± {stdev(values) if len(values) > 1 else 0:.2f}"


def main() -> None:
    """Prints the table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("align_recipe", type=Path)
    parser.add_argument("translate_recipe", type=Path)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--out", type=Path)
    for name in ("align", "translate", "both"):
        parser.add_argument(f"--{name}", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    asked.out = asked.out or Path(tempfile.mkdtemp(prefix="alignment_stage_"))
    started = time.perf_counter()
    rows = {int(seed): compare(asked, int(seed)) for seed in asked.seeds.split(",")}
    print(table(rows))
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({"seconds": seconds, "out": str(asked.out), "scores": rows}))


if __name__ == "__main__":
    main()
