"""The signers of the sample corpus: speed, size, position, handedness and accent.

Ten signers can occur in every split, and two more in test only. The signers are fixed; the seed of
a corpus determines only their sentences and the noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.sources.synthetic.handshapes import LANGUAGE_SEED


@dataclass(frozen=True)
class Signer:
    """A signer of the sample corpus.

    Attributes:
        name: Name, `signer` followed by a number of two digits.
        frames_scale: Factor by which every sign is stretched in time.
        reach: Factor by which every movement is stretched in space.
        shoulder_px: Distance between the shoulders in pixels.
        center_px: Point between the shoulders in the image, x and y in pixels.
        left_handed: Whether the left hand is the signing hand.
        accent: Standard deviation of the signer's constant deviation from the form of each sign, in
            location (shoulder distances) and angle (twice as large, in radians).
    """

    name: str
    frames_scale: float
    reach: float
    shoulder_px: float
    center_px: tuple[float, float]
    left_handed: bool
    accent: float

    def get_accent(self, sign_number: int) -> NDArray[np.float64]:
        """Return the signer's constant deviation from the form of a sign in x, y and angle, (3,).

        Args:
            sign_number: Number of the sign in the lexicon, from 0.
        """
        # Seeded by the language, not by the corpus: an accent is a property of the signer.
        signer_number = int(self.name.removeprefix("signer"))
        rng = np.random.default_rng([LANGUAGE_SEED, signer_number, sign_number])
        return self.accent * rng.standard_normal(3) * np.array([1.0, 1.0, 2.0])


SHARED_SIGNERS = (
    Signer("signer01", 1.00, 1.00, 128.0, (320.0, 210.0), False, 0.04),
    Signer("signer02", 0.85, 0.95, 120.0, (300.0, 220.0), False, 0.05),
    Signer("signer03", 1.15, 1.08, 140.0, (335.0, 205.0), False, 0.04),
    Signer("signer04", 1.00, 0.90, 112.0, (315.0, 230.0), True, 0.04),
    Signer("signer05", 0.90, 1.05, 132.0, (345.0, 215.0), False, 0.06),
    Signer("signer06", 1.10, 1.00, 124.0, (290.0, 200.0), False, 0.05),
    Signer("signer07", 0.95, 0.92, 136.0, (325.0, 225.0), False, 0.04),
    Signer("signer08", 1.05, 1.10, 116.0, (310.0, 215.0), False, 0.06),
    Signer("signer09", 0.90, 1.02, 144.0, (330.0, 220.0), False, 0.05),
    Signer("signer10", 1.20, 0.96, 126.0, (305.0, 210.0), False, 0.05),
)
TEST_ONLY_SIGNERS = (
    Signer("signer11", 0.80, 1.04, 122.0, (340.0, 225.0), False, 0.06),
    Signer("signer12", 1.12, 0.94, 134.0, (300.0, 215.0), True, 0.06),
)
