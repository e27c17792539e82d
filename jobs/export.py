"""Ray job: export a finished run as a bundle and verify the bundle in a fresh process.

ray job submit -- python jobs/export.py /absolute/run-folder /absolute/bundle [--overwrite]
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    bundle = ks.export_bundle(arguments.run, arguments.bundle, arguments.overwrite)
    print(f"bundle: {bundle.folder}; {bundle.num_verified} texts are identical after loading")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("bundle", help="output folder")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
