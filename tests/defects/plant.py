"""Plant known defects in a copy of the tree, one at a time, and check that a test fails for each.

A test that cannot fail is a defect itself. `defects.yaml` lists plausible bugs, each as one
replacement in one file, with the tests that must notice it. The tree is copied once, so the
original never changes. Each defect gets a process of its own, forked from one that has imported
the large libraries: they would cost 6 s of each start, and nothing of ours is imported there.

Usage: python tests/defects/plant.py [--list] [NAME ...]
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEFECTS = Path(__file__).with_name("defects.yaml")
_TIMEOUT_S = 300
_PRELOADED = (
    *("pytest", "yaml", "numpy", "scipy.stats", "pyarrow", "optuna", "pydantic", "sacrebleu"),
    *("torch", "transformers.trainer_seq2seq", "transformers.models.m2m_100.modeling_m2m_100"),
)
_ON_RAY = "tests/cluster/"
_FAILED = 1
"""Exit code of pytest when tests ran and at least one failed; other codes mean that none ran."""


@dataclass(frozen=True)
class Defect:
    """A bug that can be planted.

    Attributes:
        name: Identifier on the command line.
        what: Effect of the bug, in a sentence.
        file: File to change, relative to the root of the tree.
        find: Text that occurs exactly once in the file.
        replace: Text to put in its place.
        tests: Node ids of pytest of which at least one must fail.
    """

    name: str
    what: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """Result of one start of pytest.

    Attributes:
        code: Exit code; None if it took longer than the timeout.
        first: Node id of the first test that failed, or the last line of the output.
        seconds: Duration.
        output: Everything that was printed.
    """

    code: int | None
    first: str
    seconds: float
    output: str


def read_defects(path: Path = DEFECTS) -> list[Defect]:
    """Return the defects of a list, in its order."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Defect(**{**one, "tests": tuple(one["tests"])}) for one in plain]


def find_problems(defect: Defect, root: Path = ROOT) -> list[str]:
    """Return why a defect cannot be planted in a tree, or its tests cannot be run."""
    problems = []
    file = root / defect.file
    count = file.read_text(encoding="utf-8").count(defect.find) if file.is_file() else 0
    if count != 1:
        problems.append(f"`find` occurs {count} times in {defect.file}, not once")
    if defect.find == defect.replace:
        problems.append("`replace` equals `find`")
    if not defect.tests:
        problems.append("no tests are named")
    for test in defect.tests:
        path, _, function = test.partition("::")
        text = (root / path).read_text(encoding="utf-8") if (root / path).is_file() else ""
        name = function.partition("[")[0].rpartition("::")[2]
        if "kinesweep.testing" in text:  # inherited from a published suite
            suites = sorted((root / "platform" / "kinesweep" / "testing").glob("*.py"))
            text += "".join(suite.read_text(encoding="utf-8") for suite in suites)
        if f"def {name}(" not in text:
            problems.append(f"test {test} does not exist")
    return problems


def copy_tree(root: Path, folder: Path) -> Path:
    """Copy the files that git knows or would add, with a link to the sibling folder of samples."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    tree = folder / "tree"
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():  # a file may be deleted and still be in the index
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, tree / name)
    shared = root.parent / "shared"
    if shared.exists():
        (folder / "shared").symlink_to(shared.resolve())
    return tree


def run_tests(tree: Path, tests: Sequence[str], timeout_s: float | None = _TIMEOUT_S) -> Run:
    """Run tests of a copy in a process of their own, until the first failure."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    printed = tree.parent / "output"
    process = context.Process(target=_pytest, args=(tree, list(tests), printed))
    began = time.monotonic()
    process.start()
    try:
        process.join(timeout_s)
    finally:  # also when this program is interrupted
        finished = process.exitcode is not None
        if not finished:
            assert process.pid is not None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
    seconds = time.monotonic() - began
    if not finished:
        return Run(None, f"not finished after {timeout_s} s", seconds, "")
    assert process.exitcode is not None
    output = printed.read_text(encoding="utf-8", errors="replace")
    lines = output.strip().splitlines() or ["no output"]
    marks = ("FAILED ", "ERROR ")
    failed = [line.split(" ", 1)[1].split(" - ")[0] for line in lines if line.startswith(marks)]
    return Run(process.exitcode, failed[0] if failed else lines[-1], seconds, output)


def _pytest(tree: Path, tests: Sequence[str], printed: Path) -> None:
    """Run pytest in this process, which is new; its exit code is the process's."""
    os.setsid()  # what tests start ends with the process, should it take too long
    os.chdir(tree)
    paths = [str(tree / name) for name in ("platform", "tests")]
    sys.path[:0] = paths
    # Subprocesses of tests must import the copy too, not an installed package.
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    with printed.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    import pytest

    # Proofs are no part of `make test-all`, whose tests are to notice a defect.
    plain = ["-x", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", "not proof"]
    sys.exit(int(pytest.main([*plain, *tests])))


def plant(tree: Path, defect: Defect) -> Run:
    """Run a defect's tests while it is in the copy."""
    file = tree / defect.file
    original, times = file.read_bytes(), file.stat()
    text = original.decode("utf-8")
    file.write_text(text.replace(defect.find, defect.replace), encoding="utf-8")
    try:
        return run_tests(tree, defect.tests)
    finally:
        file.write_bytes(original)
        # Compiled modules are recognized by the time of their source.
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def describe(run: Run) -> tuple[bool, str]:
    """Return whether a defect was noticed, and the outcome in a word."""
    if run.code == _FAILED:
        return True, "red"
    if run.code == 0:
        return False, "UNNOTICED"
    return False, "TIMEOUT" if run.code is None else f"NOT RUN (exit code {run.code})"


def check(chosen: Sequence[Defect], root: Path) -> int:
    """Plant each defect in a copy and print a table; return how many stay unnoticed or broken."""
    broken = 0
    for defect in chosen:
        for problem in find_problems(defect, root):
            broken += 1
            print(f"{defect.name}: {problem}")
    if broken:
        return broken
    with tempfile.TemporaryDirectory(prefix="defects-") as folder:
        tree = copy_tree(root, Path(folder))
        tests = list(dict.fromkeys(test for defect in chosen for test in defect.tests))
        on_ray = [test for test in tests if test.startswith(_ON_RAY)]
        for some in ([test for test in tests if test not in on_ray], on_ray):
            plain = run_tests(tree, some, timeout_s=None) if some else None
            if plain is not None and plain.code != 0:
                print(plain.output)
                print(f"tests fail without a defect: {plain.first}")
                return 1
        print(f"{len(tests)} tests pass without a defect")
        for defect in chosen:
            run = plant(tree, defect)
            noticed, word = describe(run)
            broken += not noticed
            place = defect.file.removeprefix("platform/kinesweep/")
            print(f"{defect.name:40} {place:32} {word:10} {run.seconds:5.0f} s  {run.first}")
            sys.stdout.flush()
    print(f"{len(chosen) - broken} of {len(chosen)} defects turn a test red")
    return broken


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Check that tests notice planted defects.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="Defects to plant; default: all.")
    parser.add_argument("--list", action="store_true", help="Print the defects and exit.")
    asked = parser.parse_args()
    defects = read_defects()
    unknown = sorted(set(asked.names) - {defect.name for defect in defects})
    if unknown:
        parser.error(f"unknown defects: {', '.join(unknown)}; `--list` shows all")
    chosen = [defect for defect in defects if not asked.names or defect.name in asked.names]
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    if asked.list:
        for defect in chosen:
            print(f"{defect.name:40} {defect.what}")
        return 0
    return 1 if check(chosen, ROOT) else 0


if __name__ == "__main__":
    sys.exit(main())
