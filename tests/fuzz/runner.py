"""Runs of readers on mutated files, each within limits of time, memory and place.

A run must end in success or in one of the package's own errors within 2 s of CPU time, with less
than 1 GB of further address space, and open nothing outside of its folder.
"""

import gc
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.mutation import mutate
from fuzz.targets import Target
from kinesweep.core.errors import KinesweepError

LIMIT_S, LIMIT_WALL_S = 2.0, 30.0
LIMIT_BYTES = 1 << 30
_SYSTEM = (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/etc", "/usr")
_FREE = tuple(str(Path(p).resolve()) for p in (*_SYSTEM, Path(__file__).parents[2]))
"""Folders that libraries may read: their own files, those of the system, and the package."""


class HangError(BaseException):
    """A run took too long; no handler of errors in between catches it."""


@dataclass
class Outcome:
    """Results of a reader: how many inputs were read and refused, and what went wrong.

    Attributes:
        counts: `ok`, `refused` or `failed` → number of inputs.
        failures: number of the input and what happened, with the last lines of the code.
        slowest_s: CPU time of the slowest run.
        peak_bytes: resident memory that the runs added.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0
    peak_bytes: int = 0


@dataclass
class _Watch:
    """What files are opened while a reader runs."""

    folder: str = ""
    outside: list[str] = field(default_factory=list)


_watch: _Watch | None = None
_is_hooked = False


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: notes what is opened, removed or renamed outside of the watched folder."""
    if _watch is None or event not in ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir"):
        return
    if not isinstance(arguments[0], str | bytes | os.PathLike):
        return  # a file descriptor
    path = os.path.abspath(os.fsdecode(arguments[0]))
    mode = arguments[1] if event == "open" else "w"
    is_read = isinstance(mode, str) and not set(mode) & set("wax+")
    if not path.startswith(_watch.folder) and not (is_read and path.startswith(_FREE)):
        if event == "open" and mode is None and path.startswith(_FREE):
            return  # `os.open` of a library
        _watch.outside.append(f"{event} {path}")


@contextmanager
def limits(folder: Path) -> Iterator[_Watch]:
    """Limits on CPU time, address space and opened files while a reader runs."""
    global _watch, _is_hooked
    if not _is_hooked:
        sys.addaudithook(_note_opened)
        _is_hooked = True

    def stop(number: int, frame: object) -> None:
        raise HangError(f"took more than {LIMIT_S if number == signal.SIGPROF else LIMIT_WALL_S} s")

    previous = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    space = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, space[1]))
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, LIMIT_WALL_S)  # pytest's own limit
    # Modules that a reader imports late would write their bytecode into the package.
    writes_no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _watch = watch = _Watch(str(folder) + os.sep)
    try:
        yield watch
    finally:
        _watch = None
        sys.dont_write_bytecode = writes_no_bytecode
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, space)
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, left_s)


def run_once(target: Target, folder: Path, outcome: Outcome, label: str) -> None:
    """Runs a reader on a folder, and adds what happened to its outcome."""
    started = time.process_time()
    try:
        with limits(folder) as watch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = "refused" if target.read(folder) else "ok"
    except KinesweepError as error:
        kind = "refused"
        assert str(error).strip(), "an error without words"
    except (Exception, HangError) as error:
        kind = "failed"
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        outcome.failures.append(f"{label}: {type(error).__name__} at {place}: {error}"[:300])
    if watch.outside and not target.names_paths:
        kind = "failed"
        outcome.failures.append(f"{label}: outside of its folder: {watch.outside[0]}"[:300])
    outcome.counts[kind] += 1
    outcome.slowest_s = max(outcome.slowest_s, time.process_time() - started)


@contextmanager
def silent_log() -> Iterator[None]:
    """Keeps thousands of warnings out of the output; later tests still see theirs."""
    logger = logging.getLogger("kinesweep")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def run_target(target: Target, numbers: range, seed: int, note: Any = None) -> Outcome:
    """Mutates one file of a valid folder for each number, reads it, and puts it back.

    Args:
        target: the reader.
        numbers: numbers of the inputs; each gives the same input every time.
        seed: of all mutations.
        note: called with the number of an input before it is read.
    """
    outcome = Outcome()
    with silent_log(), tempfile.TemporaryDirectory(prefix="fuzz_") as place:
        folder = Path(place).resolve() / "corpus"
        outside = Path(place).resolve() / "outside"
        outside.mkdir()
        (outside / "secret").write_text("nobody reads this")
        folder.mkdir()
        target.make(folder)
        paths = sorted({path for pattern in target.mutated for path in folder.glob(pattern)})
        contents = [path.read_bytes() for path in paths]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run_once(target, folder, check := Outcome(), "the valid folder")
        assert check.counts == {"ok": 1}, f"{target.name}: {check.failures or 'refused'}"
        for number in numbers:
            if note is not None:
                note(number)
            rng = random.Random(f"{seed} {target.name} {number}")
            index = rng.randrange(len(paths))
            paths[index].write_bytes(mutate(contents[index], rng))
            run_once(target, folder, outcome, f"{target.name} {number} ({paths[index].name})")
            paths[index].write_bytes(contents[index])
            shutil.rmtree(folder / "out", ignore_errors=True)
        gc.collect()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome.peak_bytes = 1024 * (after - before)
        left = {path.name for path in outside.parent.iterdir()} | {
            p.name for p in outside.iterdir()
        }
        if left != {"corpus", "outside", "secret"}:
            outcome.failures.append(f"{target.name}: left {sorted(left)} outside of its folder")
    return outcome
