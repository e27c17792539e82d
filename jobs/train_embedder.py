"""Ray job: train a frame embedder by temporal cycle consistency or sequence contrast.

ray job submit -- python jobs/train_embedder.py /absolute/recipe.yaml [arguments …]

The arguments are those of `kinesweep train-embedder`.
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["train-embedder", *sys.argv[1:]])
