"""Ray job: search a space over folds of signers or documents and print the ranking.

ray job submit -- python jobs/cross_validate.py /absolute/space.yaml [key.sub=value …] [--folds 5]

An interrupted job continues when it is submitted again with `--resume`.
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    result = ks.cross_validate(
        arguments.space,
        arguments.overrides,
        by=arguments.by,
        folds=arguments.folds,
        name=arguments.name,
        base=arguments.base,
        fold_seed=arguments.fold_seed,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
    )
    for one in result.configurations:
        mean = "-" if one.mean is None else f"{one.mean:.2f}"
        scores = ["failed" if score is None else f"{score:.2f}" for score in one.scores]
        settings = " ".join(f"{key}={value}" for key, value in one.values.items())
        print(f"{result.metric} {mean} (folds: {', '.join(scores)}) {settings}")
    print(f"result: {result.folder / 'result.json'}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space", help="search space file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as recipe.training.max_steps=200")
    parser.add_argument(
        "--by", choices=["signer", "document"], default="signer", help="what no two folds share"
    )
    parser.add_argument("--folds", type=int, default=5, help="number of folds, at least 2")
    parser.add_argument("--fold-seed", type=int, default=0, help="seed of the division")
    parser.add_argument("--name", help="name of the search; default: that of the file")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--resume", action="store_true", help="continue an existing search")
    parser.add_argument("--overwrite", action="store_true", help="remove it and start again")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
