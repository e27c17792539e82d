"""Ray job: the bundle of a finished run.

ray job submit -- python jobs/export.py /absolute/run-folder /absolute/bundle […]

What may follow is what `kinesweep export` takes.
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
