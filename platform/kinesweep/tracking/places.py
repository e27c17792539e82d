"""Where the runs of a folder can be seen in TensorBoard and Weights & Biases.

Everything is read from the folder's offline queue, without a lock, so a sweep can be asked while it
runs.
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from kinesweep.tracking.backends import QUEUE_FILE
from kinesweep.tracking.offline_queue import MLFLOW_CONSUMER
from kinesweep.tracking.queue_file import parse_entries
from kinesweep.tracking.tensorboard.sender import TENSORBOARD_CONSUMER
from kinesweep.tracking.wandb.sender import WANDB_CONSUMER


@dataclass(frozen=True)
class RecordedPlaces:
    """The trackers that recorded the run of a folder.

    Attributes:
        is_in_mlflow: Whether the run is recorded in MLflow, or not at all.
        commands: `TensorBoard` or `W&B` → the command that shows or uploads the runs of the folder,
            or the address of the W&B project.
    """

    is_in_mlflow: bool = True
    commands: dict[str, str] = field(default_factory=dict)


def find_recorded_places(folder: Path) -> RecordedPlaces:
    """Find the trackers that recorded the run of a folder, and with it the runs below it.

    Args:
        folder: Folder of a run or of a sweep.
    """
    path = folder / QUEUE_FILE
    if not path.exists():
        return RecordedPlaces()
    # Files without an entry are of versions that knew MLflow only.
    consumers, wandb_url = {MLFLOW_CONSUMER}, ""
    for entry, _ in parse_entries(path.read_bytes()):
        # Each process of a run writes its consumers; the latest entry counts.
        consumers = set(entry.get("consumers", consumers))
        if WANDB_CONSUMER in entry.get("mark", {}):
            wandb_url = entry["state"].get("url", "")
    commands = {}
    if TENSORBOARD_CONSUMER in consumers:
        commands["TensorBoard"] = f"tensorboard --logdir {shlex.quote(str(folder))}"
    if WANDB_CONSUMER in consumers:
        commands["W&B"] = wandb_url or _format_sync_command(folder)
    return RecordedPlaces(MLFLOW_CONSUMER in consumers, commands)


def _format_sync_command(folder: Path) -> str:
    """Return the command that uploads the offline runs of a folder to W&B."""
    quoted = shlex.quote(str(folder))
    runs = f" {quoted}/runs/*/wandb" if (folder / "runs").is_dir() else ""
    return f"wandb sync {quoted}/wandb{runs}"
