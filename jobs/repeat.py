"""Ray job: a recipe trained several times alike, and compared.

ray job submit -- python jobs/repeat.py /absolute/recipe.yaml [arguments of `kinesweep repeat` …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["repeat", *sys.argv[1:]])
