"""Ray job: pretrain a video model on the frames of clips, on one or several workers.

ray job submit -- python jobs/pretrain.py /absolute/recipe.yaml [key.sub=value …]
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    recipe = ks.load_pretraining_recipe(arguments.recipe, arguments.overrides, arguments.base)
    result = ks.pretrain(recipe, arguments.folder, arguments.overwrite, on_ray=not arguments.no_ray)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result.scores.items())
    print(f"{result.status} after {result.step} steps, best at {result.best_step}: {scores}")
    print(f"encoder: {result.folder / 'best' / 'model.safetensors'}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="pretraining recipe file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as training.max_steps=500")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--folder", help="run folder; default: named after recipe, data and seed")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    parser.add_argument("--no-ray", action="store_true", help="train in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
