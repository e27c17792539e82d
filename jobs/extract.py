"""Ray job: the features of a recipe's corpus, computed once.

ray job submit -- python jobs/extract.py /absolute/recipe.yaml [key.sub=value …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
