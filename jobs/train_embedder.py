"""Ray job: train a frame embedder by temporal cycle consistency or sequence contrast.

ray job submit -- python jobs/train_embedder.py /absolute/recipe.yaml [key.sub=value …]
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    recipe = ks.load_embedding_recipe(arguments.recipe, arguments.overrides, arguments.base)
    result = ks.train_embedder(
        recipe, arguments.folder, arguments.overwrite, on_ray=not arguments.no_ray
    )
    print(f"{result.status} after {result.step} steps: tau {result.scores['tau']:.4f}")
    print(f"embedder: {result.folder / 'best'}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="embedding recipe file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as training.max_steps=500")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--folder", help="run folder; default: named after recipe, data and seed")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    parser.add_argument("--no-ray", action="store_true", help="extract in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
