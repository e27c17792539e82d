"""The progress meter of video extraction, and the devices that encoders record for it.

The meter passes the number of finished clips to a callback, with a note on the windows per second
and the utilization of each device. Encoders record their device as an empty file in the staging
folder, because encoders on other nodes share only the file system with the driver.
"""

import math
from pathlib import Path

from kinesweep.store.extraction.build import ClipProgressCallback

CPU_DEVICE = "cpu"
"""Device name of an encoder without a GPU."""
_DEVICE_PREFIX = ".device-"


def record_device(devices_dir: Path, device: str) -> None:
    """Record the device of an encoder as an empty file, from which the progress meter lists it.

    The meter (`ExtractionProgress`) therefore also shows a device that never receives work.

    Args:
        devices_dir: Folder of the files; its parent must exist.
        device: Name of the device, which becomes part of a file name: `CPU_DEVICE`, or the IDs of
            the encoder's GPUs, separated by commas.
    """
    devices_dir.mkdir(exist_ok=True)
    (devices_dir / f"{_DEVICE_PREFIX}{device}").touch()


def list_recorded_devices(devices_dir: Path) -> set[str]:
    """Return the names of all devices that `record_device` has recorded in a folder."""
    return {
        path.name.removeprefix(_DEVICE_PREFIX) for path in devices_dir.glob(f"{_DEVICE_PREFIX}*")
    }


class ExtractionProgress:
    """A progress meter for video extraction: clips, windows per second, and device utilization.

    The meter is itself a `ClipProgressCallback`, through which `build_store` reports the chunks
    that it has written.

    Args:
        progress: Callback that receives the progress; None reports nothing.
    """

    def __init__(self, progress: ClipProgressCallback | None) -> None:
        self._progress = progress
        self._num_done = self._num_clips = self._num_windows = 0
        self._busy_s_by_device = dict[str, float]()
        self._start_s, self._end_s = math.inf, 0.0
        self._devices_dir: Path | None = None

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report the progress to the callback; the reported number of clips never decreases.

        Args:
            done: Number of finished clips; ignored if a larger number was reported before.
            total: Number of all clips.
            note: Text beside the numbers; `throughput_text` by default.
        """
        # Two sources report: finished pieces (`add_clips`) and written chunks, which lag behind.
        self._num_done = max(done, self._num_done)
        if self._progress is not None:
            self._progress(self._num_done, total, note or self.throughput_text)

    def set_initial_state(self, num_clips: int, num_done: int, devices_dir: Path) -> None:
        """Set the state of the meter before the first batch, without reporting it.

        Args:
            num_clips: Number of all clips of the extraction.
            num_done: Number of clips that need no encoding, because they are copied.
            devices_dir: Folder in which encoders record their devices.
        """
        self._num_clips, self._num_done, self._devices_dir = num_clips, num_done, devices_dir

    def add_batch(self, num_windows: int, device: str, busy_s: float, ended_s: float) -> None:
        """Add an encoded batch to the throughput and to the busy time of its device.

        Args:
            num_windows: Number of windows in the batch.
            device: Name of the device that encoded it.
            busy_s: Duration of the encoding in seconds.
            ended_s: Time at which the encoding ended, in seconds since 1970.
        """
        # Batches of several encoders arrive in plan order rather than in order of completion.
        self._start_s = min(self._start_s, ended_s - busy_s)
        self._end_s = max(self._end_s, ended_s)
        self._num_windows += num_windows
        self._busy_s_by_device[device] = self._busy_s_by_device.get(device, 0.0) + busy_s

    def add_clips(self, num_clips: int) -> None:
        """Add the clips of a finished piece to the finished clips, and report the progress.

        Args:
            num_clips: Number of clips in the piece.
        """
        self(self._num_done + num_clips, self._num_clips)

    @property
    def throughput_text(self) -> str:
        """Return the windows per second and the busy share of each device, as one line of text.

        All CPUs share one entry, the average number of busy CPUs. Idle devices are listed too,
        from records that are read at each access. The text is empty before the first batch.
        """
        if not self._num_windows:
            return ""
        elapsed_s = max(self._end_s - self._start_s, 1e-9)
        recorded_devices = (
            set() if self._devices_dir is None else list_recorded_devices(self._devices_dir)
        )
        # Encoders without work are listed too, so that idle devices become visible.
        devices = sorted({*self._busy_s_by_device, *recorded_devices})
        busy_shares = {
            device: self._busy_s_by_device.get(device, 0.0) / elapsed_s for device in devices
        }
        devices_text = ", ".join(
            f"{share:.1f} cpus" if device == CPU_DEVICE else f"gpu {device} {min(share, 1):.0%}"
            for device, share in busy_shares.items()
        )
        return f"{self._num_windows / elapsed_s:.2f} windows/s, busy: {devices_text}"
