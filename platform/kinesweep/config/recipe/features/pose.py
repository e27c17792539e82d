"""Recipe section `features` of pose files: selected points and their normalization."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.recipe.skeletons import PointFeaturesConfig
from kinesweep.core.skeleton.keypoint_sets import KEYPOINT_SETS


class PoseFeaturesConfig(PointFeaturesConfig):
    """Pose features: selected points, normalized by the shoulders and flattened."""

    kind: Literal["pose"] = Field("pose", description="Kind of features.")
    estimator: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
        description="Pose estimator whose files are read, if `source.root` contains `{estimator}`.",
    )
    points: Literal["holistic_178", "uni_sign_69", "youtube_asl_85", "all"] = Field(
        "holistic_178",
        description="`holistic_178`: 8 body, 128 face contour and 42 hand points of MediaPipe"
        " Holistic; `uni_sign_69`: 9 body, 42 hand and 18 face points of COCO-WholeBody;"
        " `youtube_asl_85`: 6 body, 42 hand and 37 face points of MediaPipe Holistic with refined"
        " face landmarks; `all`: every point of the file.",
    )
    hide_legs: bool = Field(
        True,
        description="Set hips, knees, ankles, heels and toes to zero. Default: true; false for"
        " `uni_sign_69` and `youtube_asl_85`.",
    )
    normalize: Literal["shoulders", "published", "none"] = Field(
        "shoulders",
        description="`shoulders`: center and scale each clip once, based on the shoulders;"
        " `published`: as the publication of `uni_sign_69` or `youtube_asl_85` does, the default"
        " for these two; `none`: coordinates of the file.",
    )

    @property
    def has_corner_origin(self) -> bool:
        """Return whether the origin is a corner of the box around the person, not in the body."""
        is_published = self.normalize == "published" and self.points in KEYPOINT_SETS
        return is_published and KEYPOINT_SETS[self.points].origin == "corner"

    @model_validator(mode="before")
    @classmethod
    def _choose_published(cls, values: Any) -> Any:
        """Set the defaults of a published keypoint set, which differ from those of others."""
        # A list or mapping in place of a name is not hashable; the field reports it afterwards.
        points = values.get("points") if isinstance(values, dict) else None
        if isinstance(points, str) and points in KEYPOINT_SETS:
            return {"normalize": "published", "hide_legs": False, **values}
        return values

    @model_validator(mode="after")
    def _check_published(self) -> "PoseFeaturesConfig":
        """Check that a published normalization belongs to a keypoint set, and fits `missing`.

        Raises:
            ValueError: If `points` is no published set, or if its scores already say which points
                were detected, so that `missing` must be `zero`.
        """
        if self.normalize != "published":
            return self
        if self.points not in KEYPOINT_SETS:
            raise ValueError(
                f"`normalize: published` needs one of the published keypoint sets as `points`"
                f" ({', '.join(KEYPOINT_SETS)}), but that is `{self.points}`; use `shoulders`"
            )
        if KEYPOINT_SETS[self.points].has_score and self.missing != "zero":
            raise ValueError(
                f"`missing` is `{self.missing}`, but `{self.points}` states by its scores which"
                " points were detected; set it to `zero`, or `normalize` to `shoulders`"
            )
        return self
