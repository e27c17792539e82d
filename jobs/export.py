"""Ray job: export a finished run as a bundle.

ray job submit -- python jobs/export.py /absolute/run-folder /absolute/bundle [options …]

The options are those of `kinesweep export`.
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
