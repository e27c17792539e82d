"""Workers that are forked: Ray's like any other, but that imports are there."""

import os
import sys
from typing import Any

import pytest
import ray

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote
def describe() -> dict[str, Any]:
    """What a worker has and is."""
    return {
        "imported": "transformers.trainer" in sys.modules,
        "variable": os.environ.get("KINESWEEP_OF_THIS_TASK"),
        "token": os.environ.get("RAY_AUTH_TOKEN_PATH"),
        "folder": os.getcwd(),
        "script": sys.argv[0],
        "own_paths": [path for path in sys.path if "/tests" in path],
        "pid": os.getpid(),
    }


def test_each_has_its_own_environment() -> None:
    env = {"env_vars": {"KINESWEEP_OF_THIS_TASK": "a b"}}
    plain, special = ray.get([describe.remote(), describe.options(runtime_env=env).remote()])
    assert plain["pid"] != special["pid"] and os.getpid() not in (plain["pid"], special["pid"])
    assert (plain["variable"], special["variable"]) == (None, "a b")
    for told in (plain, special):
        assert told["imported"], "it was not forked from a process with the imports"
        assert told["token"] == os.environ["RAY_AUTH_TOKEN_PATH"]
        assert told["folder"] == os.getcwd()
        assert told["script"].endswith("default_worker.py")
        assert set(told["own_paths"]) >= {path for path in sys.path if path.endswith("/tests")}
