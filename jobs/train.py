"""Ray job: extract features, train one run, score it, and export its bundle.

ray job submit -- python jobs/train.py /absolute/recipe.yaml [key.sub=value …] [--bundle FOLDER]

An interrupted job continues when it is submitted again.
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    recipe = ks.load_recipe(arguments.recipe, arguments.overrides, arguments.base)
    result = ks.train(recipe, arguments.folder, arguments.overwrite, on_ray=not arguments.no_ray)
    evaluation = ks.evaluate(result.folder, arguments.split)
    print(f"{result.status} after {result.step} steps: {result.folder}")
    for metric, score in evaluation.scores.items():
        print(f"{arguments.split} {metric}: {score:.4g}")
    if arguments.bundle:
        bundle = ks.export_bundle(result.folder, arguments.bundle, arguments.overwrite)
        print(f"bundle: {bundle.folder}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="recipe file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as training.learning_rate=1e-4")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--folder", help="run folder; default: named after recipe, data and seed")
    parser.add_argument("--split", default="validation", help="split to score at the end")
    parser.add_argument("--bundle", help="output folder for the bundle; default: no export")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier run and bundle"
    )
    parser.add_argument("--no-ray", action="store_true", help="extract and train in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
