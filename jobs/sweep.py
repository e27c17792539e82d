"""Ray job: run a sweep, from search to bundle.

ray job submit -- python jobs/sweep.py /absolute/space.yaml [arguments of `kinesweep sweep` …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
