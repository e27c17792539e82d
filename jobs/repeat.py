"""Ray job: train a recipe several times with the same settings and compare the runs bit by bit.

ray job submit -- python jobs/repeat.py /absolute/recipe.yaml [key.sub=value …] [--runs 3]

The exit code is 1 if the runs differ.
"""

import argparse
import sys

import kinesweep as ks


def main(arguments: argparse.Namespace) -> int:
    ks.show_progress()
    recipe = ks.load_recipe(arguments.recipe, arguments.overrides, arguments.base)
    repetition = ks.repeat(
        recipe, arguments.runs, arguments.mode, arguments.folder, arguments.overwrite
    )
    for result in repetition.results:
        print(f"{result.folder.name}: {result.step} steps, weights {result.weights_sha256[:16]}")
    print("\n".join(repetition.format_lines()))
    return 0 if repetition.is_identical else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="recipe file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as training.max_steps=200")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--runs", type=int, default=3, help="number of runs, at least 2")
    parser.add_argument(
        "--mode",
        choices=["cold", "warm", "in_process"],
        default="cold",
        help="new or reused workers",
    )
    parser.add_argument("--folder", help="parent folder of the runs")
    parser.add_argument("--overwrite", action="store_true", help="remove existing runs first")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(parse_arguments()))
