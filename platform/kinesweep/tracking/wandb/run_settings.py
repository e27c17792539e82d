"""Names and settings of a run in Weights & Biases.

The project is the experiment (the question of a sweep), the group is the sweep and the job type the
phase of the run. The id stays the same when a run is resumed, and is another one when the run is
overwritten. W&B must not touch the process that trains: it gets no console, no signal handlers'
place, no code, no Git state, no machine facts and no environment variables.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from kinesweep.core.hashing import compute_fingerprint

WandbMode = Literal["online", "offline"]
_MAX_PROJECT, _MAX_ID_PREFIX, _MAX_TAG = 128, 40, 64
"""Characters that W&B allows in a project and a tag; characters of an id before its hash."""
_INIT_TIMEOUT_S, _REQUEST_TIMEOUT_S, _MAX_RETRIES = 30.0, 20.0, 4
"""Limits after which a server counts as away: 90 s and hours by default."""
_SHOWN_TAGS = ("config_hash", "seed", "phase")


def make_project_name(experiment: str) -> str:
    """Return a valid project name: characters that W&B does not allow become `-`.

    A name over 128 characters is cut and ends in a hash of the whole one.
    """
    name = re.sub(r"[/\\#?%:]", "-", experiment).strip() or "kinesweep"
    if len(name) <= _MAX_PROJECT:
        return name
    # 12 digits of the hash and a dash; without the hash, two long names could become equal.
    return f"{name[: _MAX_PROJECT - 13]}-{compute_fingerprint(experiment)[:12]}"


def make_run_id(header: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Return the id of a run: its configuration hash, its seed and a hash of its folder.

    Args:
        header: Header of the run's offline queue; its `life` tells a run that was overwritten, or
            whose folder was removed, from the earlier one.
        tags: Tags of the run.
    """
    prefix = tags.get("config_hash") or Path(header["key"]).name
    prefix = re.sub(r"[^A-Za-z0-9_.-]", "-", prefix)[:_MAX_ID_PREFIX].strip("-.")
    seed = f"-s{tags['seed']}" if "seed" in tags else ""
    folder_hash = compute_fingerprint({"key": header["key"], "life": header["life"]})[:10]
    return f"{prefix or 'run'}{seed}-{folder_hash}"


def make_run_tags(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tags that W&B shows: configuration hash, seed and phase, as `name:value`."""
    shown = [f"{name}:{tags[name]}" for name in _SHOWN_TAGS if tags.get(name)]
    return tuple(tag[:_MAX_TAG] for tag in shown)


def make_init_arguments(
    header: Mapping[str, Any], tags: Mapping[str, str], folder: Path, mode: WandbMode
) -> dict[str, Any]:
    """Return the arguments of `wandb.init` for a run, except `settings`.

    Args:
        header: Header of the run's offline queue.
        tags: Tags of the run.
        folder: Folder of the run, in which W&B creates `wandb/`.
        mode: Whether the run is sent to the server or only written to disk.
    """
    is_sweep = bool(header.get("swept_params"))
    sweep_key = header["key"] if is_sweep else header["parent"]
    return {
        "project": make_project_name(header["experiment"]),
        "id": make_run_id(header, tags),
        "name": header["title"],
        "group": Path(sweep_key).name if sweep_key else None,
        "job_type": "sweep" if is_sweep else tags.get("phase"),
        "tags": make_run_tags(tags),
        "dir": str(folder),
        "mode": mode,
        # Continues the run if W&B has it and creates it otherwise.
        "resume": "allow",
    }


def make_settings(base_url: str) -> Any:
    """Return the settings under which W&B neither prints nor interrupts nor looks around.

    Args:
        base_url: Address of the W&B server; empty: W&B's own default.
    """
    import wandb

    address = {"base_url": base_url} if base_url else {}
    return wandb.Settings(
        **address,
        console="off",
        silent=True,
        # Several runs may be open in one process: a sweep and the run it trains.
        reinit="create_new",
        # By default, a stop in W&B's interface interrupts the main thread.
        stop_fn=_ignore_stop,
        save_code=False,
        disable_git=True,
        disable_code=True,
        label_disable=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        # The queue has system metrics of its own, the same for all trackers.
        x_disable_stats=True,
        init_timeout=_INIT_TIMEOUT_S,
        x_graphql_timeout_seconds=_REQUEST_TIMEOUT_S,
        x_graphql_retry_max=_MAX_RETRIES,
        x_file_stream_timeout_seconds=_REQUEST_TIMEOUT_S,
        x_file_stream_retry_max=_MAX_RETRIES,
        x_file_transfer_retry_max=_MAX_RETRIES,
    )


def _ignore_stop() -> None:
    """Do nothing: runs are stopped by the sweep, never by a tracker."""
