"""Ray job: train a frame embedder by temporal cycle consistency or sequence contrast.

ray job submit -- python jobs/embed.py /absolute/recipe.yaml [arguments of `kinesweep embed` …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
