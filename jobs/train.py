"""Ray job: train and score one run of a recipe.

ray job submit -- python jobs/train.py /absolute/recipe.yaml [arguments of `kinesweep train` …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
