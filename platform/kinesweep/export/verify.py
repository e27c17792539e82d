"""Whether a bundle, loaded in a fresh process, writes the texts that its run wrote."""

import subprocess
import sys
from pathlib import Path

from kinesweep.core.errors import BundleError
from kinesweep.export.bundle import PREDICTIONS, open_bundle
from kinesweep.store import open_store
from kinesweep.training.evaluate import evaluate_model, read_predictions

_TIMEOUT_S = 1800


def verify_bundle(folder: Path, store: Path) -> int:
    """Decodes validation again from the bundle, in another process. Returns the texts compared.

    Args:
        folder: the bundle.
        store: the features that its run was scored on.

    Raises:
        BundleError: damaged, or a text differs; with the clip.
    """
    open_bundle(folder)
    command = [sys.executable, "-m", "kinesweep.export.verify", str(folder), str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise BundleError(f"`{folder}` could not be verified: {done.stderr.strip()[-2000:]}")
    return int(done.stdout.split()[-1])


def compare(folder: Path, store: Path) -> int:
    """The comparison itself, in this process.

    Raises:
        BundleError: a text differs.
    """
    wanted = {p.clip_id: p.hypothesis for p in read_predictions(folder / PREDICTIONS)}
    again = evaluate_model(folder, open_store(store), "validation").predictions
    for line in again:
        if wanted.get(line.clip_id) != line.hypothesis:
            raise BundleError(
                f"`{line.clip_id}` is translated as “{line.hypothesis}” by the bundle, but was"
                f" “{wanted.get(line.clip_id)}” when its run was scored"
            )
    return len(again)


if __name__ == "__main__":
    print(compare(Path(sys.argv[1]), Path(sys.argv[2])))
