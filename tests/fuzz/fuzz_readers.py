"""The long form of fuzzing: thousands of mutated inputs over all readers, and a table.

`make fuzz`, or `PYTHONPATH=tests python tests/fuzz/fuzz_readers.py --only captions`. Each reader
runs in a process of its own, so that a library that crashes or never returns fails one input.
"""

import argparse
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from fuzz.runner import LIMIT_WALL_S, Outcome, run_target
from fuzz.targets import TARGETS, Target


def run_in_process(target: Target, count: int, seed: int) -> Outcome:
    """Runs all inputs of a reader in forked processes; a new one after each that died."""
    context = multiprocessing.get_context("fork")
    total, first = Outcome(), 0
    while first < count:
        current = context.Value("i", first)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(target, range(first, count), seed, current, sender)
        )
        process.start()
        sender.close()
        outcome = _wait(process, receiver, current)
        if isinstance(outcome, AssertionError):
            raise outcome
        if isinstance(outcome, Outcome):
            _add(total, outcome)
            return total
        total.counts["failed"] += 1
        total.counts["ok or refused"] += current.value - first
        total.failures.append(f"{target.name} {current.value}: {outcome}")
        first = current.value + 1
    return total


def _work(target: Target, numbers: range, seed: int, current: Any, sender: Connection) -> None:
    def note(number: int) -> None:
        current.value = number

    try:
        sender.send(run_target(target, numbers, seed, note))
    except AssertionError as error:  # the fuzzer itself is wrong: its folder is not valid
        sender.send(error)


def _wait(process: Any, receiver: Connection, current: Any) -> Outcome | AssertionError | str:
    """Waits for a process; what happened if it stood still or died."""
    last, since = current.value, time.monotonic()
    while True:
        try:
            if receiver.poll(0.2):
                outcome: Outcome | AssertionError = receiver.recv()
                process.join()
                return outcome
        except EOFError:
            process.join()
            return f"the process ended with code {process.exitcode}"
        if current.value != last:
            last, since = current.value, time.monotonic()
        if time.monotonic() - since > 2 * LIMIT_WALL_S:
            process.kill()
            process.join()
            return "stood still and could not be interrupted"


def _add(total: Outcome, outcome: Outcome) -> None:
    total.counts += outcome.counts
    total.failures += outcome.failures
    total.slowest_s = max(total.slowest_s, outcome.slowest_s)
    total.peak_bytes = max(total.peak_bytes, outcome.peak_bytes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="inputs of all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the names of readers")
    arguments = parser.parse_args()
    targets = [target for target in TARGETS if arguments.only in target.name]
    share = -(-arguments.count // len(targets))
    print("reader               inputs    ok refused failed  max s    MB")
    failures: list[str] = []
    num_inputs = 0
    for target in targets:
        outcome = run_in_process(target, share, arguments.seed)
        counts = outcome.counts
        num_inputs += counts.total()
        failures += outcome.failures
        print(
            f"{target.name:20} {counts.total():6} {counts['ok']:5} {counts['refused']:7}"
            f" {counts['failed']:6} {outcome.slowest_s:6.2f} {outcome.peak_bytes / 1e6:5.0f}",
            flush=True,
        )
    print(f"{num_inputs} inputs, {len(failures)} failures")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
