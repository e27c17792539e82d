"""Ray job: extract the features of a recipe's corpus.

ray job submit -- python jobs/extract.py /absolute/recipe.yaml [key.sub=value …] [--base FOLDER]
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    recipe = ks.load_recipe(arguments.recipe, arguments.overrides, arguments.base)
    store = ks.extract(recipe, on_ray=not arguments.no_ray)
    for split in store.splits:
        print(f"{split}: {len(store.get_records(split))} clips")
    print(f"store: {store.folder}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="recipe file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as features.stride=2")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--no-ray", action="store_true", help="extract in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
