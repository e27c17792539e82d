"""The machine and the process: memory, and the environment of subprocesses."""
