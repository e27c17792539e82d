"""Batches of windows: the frames of planned windows, read from a store, augmented and stacked.

Shapes: B windows, F frames of a window, H = W pixels, C colors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kinesweep.config.recipe.features.pixel_augmentation import PixelAugmentationConfig
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.data.windows.pixel_augmentation import augment_window, resize_frames
from kinesweep.data.windows.window_plan import PlannedWindow
from kinesweep.store.format.reader import Store


class WindowDataset(Dataset[WindowBatch]):
    """Batches of windows by position.

    Args:
        store: Feature store with decoded frames.
        stream: Name of the stream of frames.
        size: Height and width of the model's input in pixels.
        list_windows: Function from the position of a batch to its windows.
        augmentation: Augmentation of the pixels; None: frames are only scaled to the size.
    """

    def __init__(
        self,
        store: Store,
        stream: str,
        size: int,
        list_windows: Callable[[int], Sequence[PlannedWindow]],
        augmentation: PixelAugmentationConfig | None,
    ) -> None:
        self._store, self._stream, self._size = store, stream, size
        self._list_windows, self._augmentation = list_windows, augmentation

    def __getitem__(self, position: int) -> WindowBatch:
        """Return the batch at a position.

        Raises:
            StoreError: If the store is damaged, or a video that it refers to has changed.
        """
        windows = self._list_windows(position)
        # Windows of one clip follow each other; a store without pixels decodes a clip per read.
        frames: dict[str, NDArray[Any]] = {}
        pixels = []
        for window in windows:
            if window.record.clip.id not in frames:
                features = self._store.get_features(window.record)
                frames = {window.record.clip.id: features[self._stream]}
            pixels.append(self._read_pixels(window, frames[window.record.clip.id]))
        return WindowBatch(
            torch.from_numpy(np.stack(pixels)),
            tuple(window.num_real_frames for window in windows),
            tuple(window.seed for window in windows),
            tuple(window.record.clip.id for window in windows),
            tuple(tuple(filter(None, window.record.clip.texts)) for window in windows),
        )

    def _read_pixels(self, window: PlannedWindow, x_TD: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the pixels of a window, (F, size, size, C).

        Args:
            window: The window.
            x_TD: All frames of its clip.
        """
        # Stores hold frames as vectors; frames are square with three colors.
        side = round((x_TD.shape[1] / 3) ** 0.5)
        pixels_FHWC = x_TD[list(window.frames)].reshape(len(window.frames), side, side, 3)
        if self._augmentation is None:
            return resize_frames(pixels_FHWC, self._size)
        return augment_window(pixels_FHWC, self._size, self._augmentation, window.seed)
