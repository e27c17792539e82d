"""Ray job: the scores of a finished run or a bundle on one split.

ray job submit -- python jobs/evaluate.py /absolute/model-folder […]

What may follow is what `kinesweep evaluate` takes.
"""

import sys

from kinesweep.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
