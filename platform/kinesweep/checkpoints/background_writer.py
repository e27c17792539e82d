"""A writer of checkpoints that works in a thread while training continues.

It takes a copy at the step and does all the rest beside training: serialization, hashes, `fsync`,
the rename and the removal of old checkpoints. A thread suffices, because PyTorch, safetensors and
hashlib release the interpreter for large buffers (the longest pause of training was 0.2 s in 400
MB, of `torch.save`), and unlike a process it cannot outlive a killed run and write into its folder.
At most one checkpoint is in flight: the next one waits for it.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kinesweep.checkpoints.checkpoint_content import CheckpointContent, HostBuffers
from kinesweep.checkpoints.checkpoints import (
    create_checkpoint_folder,
    prune_checkpoints,
    publish_checkpoint,
)
from kinesweep.checkpoints.progress import TrainingProgress

WRITER_THREAD_NAME = "checkpoint-writer"
_LOG = logging.getLogger(__name__)


class CheckpointWriter:
    """A writer of the checkpoints of one run, on the rank that writes files.

    It is a context manager: leaving it waits for the checkpoint in flight and raises its error,
    unless another error is already on its way.

    Args:
        root: Folder of all checkpoints of the run.
        keep: Policy for old checkpoints, from `checkpoints.keep`.
        num_averaged: Number of checkpoints that are averaged in the end.
        before_publish: Function that brings to disk what must precede a checkpoint; called in the
            thread before the checkpoint is published.

    Attributes:
        before_publish: See above; it may be replaced while no checkpoint is in flight.
    """

    def __init__(
        self,
        root: Path,
        keep: str,
        num_averaged: int = 1,
        before_publish: Callable[[], None] | None = None,
    ) -> None:
        self._root, self._keep, self._num_averaged = root, keep, num_averaged
        self.before_publish = before_publish
        self._buffers = HostBuffers()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._was_warned = False

    def write(self, content: CheckpointContent, step: int, progress: TrainingProgress) -> None:
        """Copy a checkpoint and write it in the background, once the one before is written.

        Without the memory for a copy, the checkpoint is written before this method returns.

        Args:
            content: Files of the checkpoint; training may change its tensors afterwards.
            step: Number of optimizer steps done.
            progress: State of the run.

        Raises:
            Exception: Error of the checkpoint before, or of this one if it is not copied.
        """
        # Also because the buffers hold one checkpoint: the copy would overwrite it half-written.
        self.join()
        snapshot = self._buffers.copy(content)
        if snapshot is None:
            self._warn_once()
            self._write_files(content, step, progress)
            return
        # Not a daemon: an interpreter that ends in the meantime waits for the checkpoint.
        self._thread = threading.Thread(
            target=partial(self._run, snapshot, step, progress), name=WRITER_THREAD_NAME
        )
        self._thread.start()

    def join(self) -> None:
        """Wait until no checkpoint is in flight.

        Raises:
            Exception: Error of the last checkpoint, once.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.raise_error()

    def raise_error(self) -> None:
        """Raise the error of a checkpoint that failed since the last call; do not wait for one."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            self.join()
        except Exception as write_error:
            if error is None:
                raise
            # The first error is the one to raise, but the checkpoint's must not go unnoticed.
            error.add_note(f"The last checkpoint was not written: {write_error}")

    def _run(self, snapshot: CheckpointContent, step: int, progress: TrainingProgress) -> None:
        """Write a copied checkpoint and keep an error for the training thread; the thread's body.

        Args:
            snapshot: Copy of the files.
            step: Number of optimizer steps done.
            progress: State of the run.
        """
        try:
            self._write_files(snapshot, step, progress)
        except BaseException as error:
            self._error = error

    def _write_files(
        self, content: CheckpointContent, step: int, progress: TrainingProgress
    ) -> None:
        """Write and publish a checkpoint, then remove those that the policy does not keep.

        Args:
            content: Files of the checkpoint.
            step: Number of optimizer steps done.
            progress: State of the run.
        """
        staging_dir = create_checkpoint_folder(self._root, step)
        content.write(staging_dir)
        if self.before_publish is not None:
            self.before_publish()
        publish_checkpoint(staging_dir, step, progress)
        # Prune only after publishing, so that one complete checkpoint exists at any time.
        prune_checkpoints(self._root, self._keep, step, progress.best_step, self._num_averaged)

    def _warn_once(self) -> None:
        """Log that checkpoints are written in the foreground."""
        if not self._was_warned:
            self._was_warned = True
            _LOG.warning(
                "the memory for a copy of the checkpoint is not available, so training waits while"
                " checkpoints are written"
            )
