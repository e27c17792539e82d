"""Ray job: the bundle of a finished run.

ray job submit -- python jobs/export.py /absolute/run-folder /absolute/bundle [arguments of `kinesweep export` …]
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
