"""Ray job: score a finished run or a bundle on one split.

ray job submit -- python jobs/evaluate.py /absolute/model-folder [options …]

The options are those of `kinesweep evaluate`.
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
