"""The interface of a feature step, which converts the media of a clip into feature streams.

A step is a pure function of the media and its configuration, without state or randomness. Its
fingerprint is part of the store's fingerprint, so a change of the configuration or of the code
triggers a new extraction.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.vocabulary import TokenVocabulary


@dataclass(frozen=True)
class Features:
    """The features of one stream of a clip.

    Attributes:
        x_TD: Features, float32 (T, D), pixels of frames, uint8, or token ids, int32 (T, 1); all
            values are finite.
        rate_hz: Feature vectors per second.
        layout: Points whose coordinates form the feature vector; None if it holds no points.
        has_mask: Whether each point has a further value after its coordinates: 1 or its score where
            it was detected, otherwise 0.
        frame_size: Side of a square RGB frame in pixels, if the values of a frame are its pixels.
        vocabulary: Vocabulary of the stream if its values are token ids, int32 (T, 1).
        reads_video: Whether a store keeps only the number of frames and decodes the video again
            whenever the pixels are read.
    """

    x_TD: NDArray[Any]
    rate_hz: float
    layout: PointLayout | None = None
    has_mask: bool = False
    frame_size: int | None = None
    reads_video: bool = False
    vocabulary: TokenVocabulary | None = None

    @property
    def fixed_dtype(self) -> str | None:
        """Return the dtype in which a store keeps pixels and token ids; None for numbers."""
        return get_fixed_dtype(self.frame_size, self.vocabulary)


def get_fixed_dtype(frame_size: int | None, vocabulary: TokenVocabulary | None) -> str | None:
    """Return the dtype in which a store keeps a stream whatever `store.dtype` is.

    Args:
        frame_size: Side of a square RGB frame in pixels if the values are pixels.
        vocabulary: Vocabulary of the stream if its values are token ids.

    Returns:
        `uint8` for pixels, `int32` for token ids, and None for numbers.
    """
    if frame_size is not None:
        return "uint8"
    # float16 represents whole numbers exactly only up to 2,048; vocabularies are larger.
    return None if vocabulary is None else "int32"


@runtime_checkable
class FeatureStep(Protocol):
    """A step that computes one or more feature streams. Implementations must be picklable."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the names of the computed streams, for example `pose`, in the store's order."""

    @property
    def fingerprint(self) -> str:
        """Return a hash of the configuration and of the version of the code.

        It must change whenever features of unchanged media may change.
        """

    def compute_features(self, media: Any) -> dict[str, Features]:
        """Compute the features of one clip.

        Args:
            media: Media as the source of the same recipe reads them.

        Returns:
            Stream → features. Lengths and rates may differ between streams. A stream that the clip
            does not have is missing.

        Raises:
            ClipError: If the clip cannot be used. Its reason is the category under which the
                dropped clip is counted.
        """

    def estimate_shapes(self, media: Any) -> dict[str, tuple[int, int]]:
        """Estimate the shape of each stream without computing its features.

        The plan of an extraction calls this for many clips, so it must be cheap.

        Args:
            media: Media as the source of the same recipe reads them.

        Returns:
            Stream → approximate shape (T, D) of the features that a store keeps of it; no frames
            if its features are read from the media whenever they are needed.

        Raises:
            ClipError: If it is already clear that `compute_features` will fail.
        """
