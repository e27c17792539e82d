"""What of a crop around the signer determines the pixels, for fingerprints of features."""

from typing import Any

from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.features.signer_crop.detectors import compute_detector_fingerprint
from kinesweep.features.signer_crop.signer_squares import SIGNER_CROP_VERSION


def describe_signer_crop(
    settings: dict[str, Any] | None, config: SignerCropConfig | None
) -> dict[str, Any]:
    """Describe a crop as plain values; nothing without a crop.

    Features without a crop then keep the fingerprint that they had before there were any.

    Args:
        settings: Plain values of the crop.
        config: Crop.

    Raises:
        InputError: If the files of the detector do not exist.
    """
    if settings is None or config is None:
        return {}
    # The version stands for the code, which no setting describes.
    described = {**settings, "code": SIGNER_CROP_VERSION}
    if config.detector is not None:
        # By content instead of by path.
        described["detector"] = compute_detector_fingerprint(config.detector)
    return {"crop": described}
