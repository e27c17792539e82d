"""Ray job: extract the features of a recipe's corpus.

ray job submit -- python jobs/extract.py /absolute/recipe.yaml [key.sub=value …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
