"""`python -m kinesweep`: the command line without an installed script."""

from kinesweep.cli import main

main()
