"""Variation of training clips: which frames are taken, and where their points lie.

Each clip's variation in each epoch is drawn from (seed, epoch, clip id) alone, so it is the same
in any batch, process or order, and a resumed run goes on with the same clips. Stored features are
varied, not files: nothing is extracted twice. Points that were not found are zero and stay so.
Streams are drawn for one by one, but a reference takes the draws of the stream that is held against
it: a difference is one between frames, and sides of the body, that belong together. Noise stays
each one's own; where both had the same, their difference would have none.

Shapes: T frames, J points, C coordinates, D = J·C.
"""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.pose import PointLayout
from kinesweep.core.recipe.augmentation import AugmentationConfig
from kinesweep.core.schema import StoreSchema
from kinesweep.core.seeds import derive_seed, generator
from kinesweep.features.mirror import mirror_order


@dataclass(frozen=True)
class Augmentation:
    """Varies clips.

    Attributes:
        config: what is varied.
        schema: of the store; says what a frame's values are.
        seed: of the run.
        longest: frames that no clip grows beyond, references not counted.
        alike: stream → the one whose draws it takes; others draw for themselves.
    """

    config: AugmentationConfig
    schema: StoreSchema
    seed: int
    longest: int
    alike: Mapping[str, str] = field(default_factory=dict)

    def lengths(self, lengths: Mapping[str, int], clip_id: str, epoch: int) -> dict[str, int]:
        """Frames that each stream of a clip will have, of `lengths` now."""
        pace = self._duration(lengths, clip_id, epoch)
        return {name: self._kept(_scaled(frames, pace)) for name, frames in lengths.items()}

    def __call__(
        self, streams: Mapping[str, NDArray[np.floating]], clip_id: str, epoch: int
    ) -> dict[str, NDArray[np.float32]]:
        """A clip's streams (T, D), varied; copies.

        Raises:
            InputError: points are to move, but a stream does not consist of such; or streams that
                are varied alike are not in step.
        """
        self._check_in_step(streams, clip_id)
        lengths = {name: len(x_TD) for name, x_TD in streams.items()}
        pace = self._duration(lengths, clip_id, epoch)
        varied = {}
        for name, x_TD in streams.items():
            drawn = self.alike.get(name, name)
            rng = generator(self.seed, "augmentation", epoch, clip_id, drawn)
            x_TD = np.asarray(x_TD, np.float32)[self._frames(len(x_TD), pace, rng)]
            if self.config.moves_points:
                own = rng if drawn == name else generator(self.seed, "noise", epoch, clip_id, name)
                x_TD = self._moved(x_TD, name, rng, own)
            varied[name] = x_TD
        return varied

    def _check_in_step(self, streams: Mapping[str, Sized], clip_id: str) -> None:
        for name, other in self.alike.items():
            if name in streams and len(streams[name]) != len(streams[other]):
                raise InputError(
                    f"clip `{clip_id}` has {len(streams[other])} frames of `{other}`, but"
                    f" {len(streams[name])} of `{name}`, which are varied alike; align them when"
                    " features are made"
                )

    def _duration(self, lengths: Mapping[str, int], clip_id: str, epoch: int) -> float:
        """How many times as long a clip becomes; streams of a clip stay in step."""
        if not self.config.speed:
            return 1.0
        frames = sum(frames for name, frames in lengths.items() if name not in self.alike)
        share = derive_seed(self.seed, "speed", epoch, clip_id) / 2**63
        tempo = 1 + self.config.speed * (2 * share - 1)
        return min(1 / tempo, self.longest / frames)

    def _kept(self, frames: int) -> int:
        return max(1, round(frames * (1 - self.config.drop_frames)))

    def _frames(self, frames: int, pace: float, rng: np.random.Generator) -> NDArray[np.intp]:
        """The frames to take, in order; slower clips repeat some."""
        length = _scaled(frames, pace)
        taken = ((np.arange(length) + 0.5) * frames / length).astype(np.intp)
        kept = self._kept(length)
        return taken if kept == length else taken[np.sort(rng.permutation(length)[:kept])]

    def _moved(
        self,
        x_TD: NDArray[np.float32],
        stream: str,
        rng: np.random.Generator,
        noise: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Mirrors, turns and blurs the points that were found."""
        config, layout = self.config, self._layout(stream)
        x_TJC = x_TD.reshape(len(x_TD), layout.num_points, -1)
        found_TJ1 = (x_TJC != 0).max(axis=2, keepdims=True)
        if rng.random() < config.mirror:
            order_J = self._mirror_orders[stream]
            x_TJC, found_TJ1 = x_TJC[:, order_J], found_TJ1[:, order_J]
            x_TJC[..., 0] *= -1
        angle = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
        if angle:
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            x_TJC[..., :2] = x_TJC[..., :2] @ turn.astype(np.float32)
        if config.noise:
            noise_TJC = noise.standard_normal(x_TJC.shape, np.float32) * np.float32(config.noise)
            x_TJC += noise_TJC * found_TJ1
        return x_TJC.reshape(x_TD.shape)

    def _layout(self, stream: str) -> PointLayout:
        layout = self.schema.streams[stream].layout
        if layout is None:
            raise InputError(
                f"`batch.augmentation` moves points, but the stream `{stream}` holds none;"
                " set `mirror`, `rotation_deg` and `noise` to 0"
            )
        return layout

    @cached_property
    def _mirror_orders(self) -> dict[str, NDArray[np.intp]]:
        return {name: mirror_order(self._layout(name)) for name in self.schema.streams}


def build_augmentation(
    config: AugmentationConfig,
    schema: StoreSchema,
    seed: int,
    longest: int,
    alike: Mapping[str, str] | None = None,
) -> Augmentation | None:
    """An augmentation that can be carried out; None when nothing is varied.

    Raises:
        InputError: a stream holds no points, or points whose mirror images are not known.
    """
    if not (config.moves_points or config.changes_length):
        return None
    built = Augmentation(config, schema, seed, longest, alike or {})
    for stream in schema.streams if config.moves_points else ():
        built._layout(stream)
    if config.mirror:
        _ = built._mirror_orders
    return built


def _scaled(frames: int, pace: float) -> int:
    return max(1, int(frames * pace))
