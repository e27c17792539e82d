"""Ray job: score a run or a bundle on one split of its corpus.

ray job submit -- python jobs/evaluate.py /absolute/model-folder [key.sub=value …] [--split test]
"""

import argparse

import kinesweep as ks


def main(arguments: argparse.Namespace) -> None:
    ks.show_progress()
    evaluation = ks.evaluate(arguments.model, arguments.split, arguments.overrides)
    for metric, score in evaluation.scores.items():
        print(f"{arguments.split} {metric}: {score:.4g}  {evaluation.signatures.get(metric, '')}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of a run, a model or a bundle")
    parser.add_argument("overrides", nargs="*", help="such as generation.num_beams=1")
    parser.add_argument("--split", default="validation", help="train, validation or test")
    return parser.parse_args()


if __name__ == "__main__":
    main(parse_arguments())
