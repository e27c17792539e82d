"""Environment variables of subprocesses that run in a virtual environment of their own.

Such an environment has other versions of packages than this process, so nothing may lead its
interpreter to ours.
"""

import os


def build_child_environment(dropped_prefixes: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables of this process without `PYTHONPATH`.

    Args:
        dropped_prefixes: Prefixes of further variables that are left out.
    """
    # `PYTHONPATH` precedes the installed packages, so ours would replace those of the environment.
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith(dropped_prefixes)
    }
