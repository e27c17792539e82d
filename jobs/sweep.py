"""Ray job: run a sweep from search to bundle and print its ranking.

ray job submit -- python jobs/sweep.py /absolute/space.yaml [key.sub=value …] [--base FOLDER]

An interrupted job continues when it is submitted again with `--resume`.
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    result = ks.sweep(
        arguments.space,
        arguments.overrides,
        name=arguments.name,
        base=arguments.base,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        extend=arguments.extend,
    )
    sweep = ks.load_sweep(result.folder)
    print(sweep.ranking.to_string(float_format="{:.2f}".format))
    print(sweep.answer)
    print(f"bundle: {result.bundle}")
    print(f"report: {result.report}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space", help="search space file (YAML)")
    parser.add_argument("overrides", nargs="*", help="such as search.trials=4")
    parser.add_argument("--name", help="name of the sweep folder; default: that of the file")
    parser.add_argument("--base", default=".", help="folder for relative paths in the recipe")
    parser.add_argument("--resume", action="store_true", help="continue an existing sweep")
    parser.add_argument("--overwrite", action="store_true", help="remove it and start again")
    parser.add_argument("--extend", type=int, default=0, help="number of trials to add to it")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
