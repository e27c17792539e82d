"""Ray job: train a recipe several times with the same settings and compare the runs bit by bit.

ray job submit -- python jobs/repeat.py /absolute/recipe.yaml [arguments of `kinesweep repeat` …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["repeat", *sys.argv[1:]])
