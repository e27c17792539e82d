"""Run the command line as `python -m kinesweep`, without the installed script."""

from kinesweep.cli import main

main()
