"""The key `source.skeleton`: the name of a skeleton, one declared in place, or a file with one.

A file is read when the recipe is validated, so that a recipe, its hash and its bundle contain the
skeleton itself.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from kinesweep.config.loading import StrictConfig, read_yaml
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.config.validation_problems import format_problem
from kinesweep.core.errors import ConfigError
from kinesweep.core.skeleton.point_graph import find_cycle_bones

SkeletonName = Literal[
    "smpl_22",
    "smpl_24",
    "coco_17",
    "coco_wholebody_133",
    "holistic_33",
    "holistic_hands",
    "holistic_178",
    "mediapipe_world_33",
    "openpose_25",
    "kinect_v1_20",
    "kinect_v2_25",
    "azure_kinect_32",
    "ntu_rgbd_25",
    "openpose_135",
    "human36m_17",
    "kit_ml_21",
    "smplx_55",
    "mano_21",
    "hand_21",
    "humanml3d_22",
    "rtmpose_133",
]
"""Names in `core.skeleton.skeleton.SKELETONS`, which a test compares with these."""
SKELETON_NAMES: tuple[str, ...] = get_args(SkeletonName)

# Strict: YAML reads `yes` and `on` as true, which is not point 1.
Point = str | Annotated[int, Strict()]
"""A point of a declared skeleton: its name, or its index from 0."""
_FILE_SUFFIXES = (".yaml", ".yml")


class DeclaredSkeletonConfig(StrictConfig):
    """A skeleton of the user's own: points in the order of the arrays, bones, sides and root."""

    name: str = Field("declared", min_length=1, description="Name of the skeleton, for messages.")
    points: tuple[str, ...] = Field(
        min_length=1, description="Names of the points, in the order of the arrays."
    )
    bones: tuple[tuple[Point, Point], ...] = Field(
        (),
        description="Pairs of points, by name or index from 0, in any direction; they form trees.",
    )
    left_right: tuple[tuple[Point, Point], ...] | None = Field(
        None,
        description="Pairs of a left point and its mirror image; all others lie in the middle."
        " Default: pairs are recognized by name (`LeftHand`, `left_hand`, `LHand`, `hand_l`).",
    )
    root: Point | None = Field(
        None, description="Point that motions are centered on; default: the first point."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        """Check that the name can be part of a message."""
        if not name.strip() or not name.isprintable():
            raise ValueError(f"must be a name on one line, but is {name!r}")
        return name

    @field_validator("points")
    @classmethod
    def _check_points(cls, points: tuple[str, ...]) -> tuple[str, ...]:
        """Check that every point has a name of its own, on one line.

        Raises:
            ValueError: If a name is blank, not printable or occurs twice; all are named.
        """
        problems = [
            f"`{name}` is the name of {count} points"
            for name, count in Counter(points).items()
            if count > 1
        ]
        problems += [
            f"[{index}] must be a name on one line, but is {name!r}"
            for index, name in enumerate(points)
            if not name.strip() or not name.isprintable()
        ]
        _raise_problems(problems)
        return points

    @field_validator("bones")
    @classmethod
    def _check_bones(
        cls, bones: tuple[tuple[Point, Point], ...], info: ValidationInfo
    ) -> tuple[tuple[Point, Point], ...]:
        """Check that bones join known points without a cycle.

        Raises:
            ValueError: If they do not; all problems are named, each with the position of its bone.
        """
        points = info.data.get("points")
        if points is None:  # invalid points are reported already
            return bones
        problems = _find_unknown_points(points, bones)
        # Bones with unknown points are left out, so that cycles of the others are reported, too.
        known = [
            (position, (first, second))
            for position, pair in enumerate(bones)
            if (first := find_point(points, pair[0])) is not None
            and (second := find_point(points, pair[1])) is not None
        ]
        for closing in find_cycle_bones(len(points), [bone for _, bone in known]):
            position, (first, second) = known[closing]
            problems.append(
                f"[{position}] joins `{points[first]}` to itself"
                if first == second
                else f"[{position}] closes a cycle, from `{points[first]}` to `{points[second]}`"
            )
        _raise_problems(problems)
        return bones

    @field_validator("left_right")
    @classmethod
    def _check_left_right(
        cls, pairs: tuple[tuple[Point, Point], ...] | None, info: ValidationInfo
    ) -> tuple[tuple[Point, Point], ...] | None:
        """Check that pairs consist of known points, each of which is in one pair only.

        Raises:
            ValueError: If they do not; all problems are named.
        """
        points = info.data.get("points")
        if points is None or pairs is None:
            return pairs
        problems = _find_unknown_points(points, pairs)
        counts = Counter(find_point(points, point) for pair in pairs for point in pair)
        problems += [
            f"`{points[index]}` is used {count} times, but a point has one mirror image"
            for index, count in counts.items()
            if index is not None and count > 1
        ]
        _raise_problems(problems)
        return pairs

    @field_validator("root")
    @classmethod
    def _check_root(cls, root: Point | None, info: ValidationInfo) -> Point | None:
        """Check that the root is a known point.

        Raises:
            ValueError: If it is not.
        """
        points = info.data.get("points")
        if points is not None and root is not None and find_point(points, root) is None:
            raise ValueError(f"names {_format_unknown_point(points, root)}")
        return root

    @property
    def bone_indices(self) -> list[tuple[int, int]]:
        """Return the bones as pairs of point indices."""
        return _to_indices(self.points, self.bones)

    @property
    def left_right_indices(self) -> list[tuple[int, int]] | None:
        """Return the pairs as point indices; None if they are to be recognized by name."""
        return None if self.left_right is None else _to_indices(self.points, self.left_right)

    @property
    def root_index(self) -> int:
        """Return the index of the root."""
        return 0 if self.root is None else find_point(self.points, self.root) or 0


def find_point(points: Sequence[str], point: Point) -> int | None:
    """Find the index of a point; None if it does not exist.

    Args:
        points: Names of the J points.
        point: Name of the point, or its index from 0.
    """
    if isinstance(point, int):
        return point if 0 <= point < len(points) else None
    return points.index(point) if point in points else None


def _to_indices(
    points: Sequence[str], pairs: Sequence[tuple[Point, Point]]
) -> list[tuple[int, int]]:
    """Convert pairs of valid points to pairs of their indices."""
    indices = [[find_point(points, point) for point in pair] for pair in pairs]
    return [
        (first, second) for first, second in indices if first is not None and second is not None
    ]


def _find_unknown_points(points: Sequence[str], pairs: Sequence[tuple[Point, Point]]) -> list[str]:
    """Find the points of pairs that do not exist, and return a problem for each.

    Args:
        points: Names of the J points.
        pairs: Pairs of points, by name or by index.
    """
    return [
        f"[{position}] names {_format_unknown_point(points, point)}"
        for position, pair in enumerate(pairs)
        for point in pair
        if find_point(points, point) is None
    ]


def _format_unknown_point(points: Sequence[str], point: Point) -> str:
    """Format the problem that a point does not exist, with the most similar name.

    Args:
        points: Names of the J points.
        point: Name or index that does not exist.
    """
    if isinstance(point, int):
        return f"the unknown point {point} (indices are 0 to {len(points) - 1})"
    hint = suggest_closest_word(point, list(points)).lstrip("; ").rstrip("?")
    return f"the unknown point `{point}` ({hint + '?' if hint else 'not in `points`'})"


def _raise_problems(problems: Sequence[str]) -> None:
    """Raise an error that lists problems; do nothing without any.

    Raises:
        ValueError: If there are problems.
    """
    if problems:
        raise ValueError("; ".join(problems))


def _read_skeleton(value: object, info: ValidationInfo) -> object:
    """Return a skeleton as given, after reading it if it is the path of a YAML file.

    A relative path starts from `base_dir` of the validation, as all other paths of a recipe do.

    Raises:
        ValueError: If the file cannot be read or declares no valid skeleton, or if a name is
            unknown.
    """
    if isinstance(value, Mapping | DeclaredSkeletonConfig) or value in SKELETON_NAMES:
        return value
    if not isinstance(value, str) or not value.lower().endswith(_FILE_SUFFIXES):
        hint = suggest_closest_word(str(value), SKELETON_NAMES) or (
            "; it must be one of the names in `kinesweep skeletons`, a mapping with `points` and"
            " `bones`, or a `.yaml` file that contains them"
        )
        raise ValueError(f"is not the name of a skeleton{hint}")
    path = Path((info.context or {}).get("base_dir") or Path.cwd()) / value
    try:
        declared = read_yaml(path)
    except ConfigError as error:
        raise ValueError(_join_problems(str(path), error.problems)) from None
    try:
        return DeclaredSkeletonConfig.model_validate(declared)
    except ValidationError as error:
        problems = [
            format_problem(DeclaredSkeletonConfig, declared, item) for item in error.errors()
        ]
        # The paths are those of the file, so they cannot be shown as paths of the recipe.
        raise ValueError(_join_problems(str(path), problems)) from None


def _join_problems(file: str, problems: Sequence[tuple[str, str]]) -> str:
    """Join the problems of a file into one message."""
    return f"reads `{file}`: " + "; ".join(f"`{path}` {text}" for path, text in problems)


def _get_form(value: Any) -> str:
    """Return the tag of the form of a skeleton."""
    return "declared" if isinstance(value, Mapping | DeclaredSkeletonConfig) else "name"


AnySkeleton = Annotated[
    Annotated[SkeletonName, Tag("name")] | Annotated[DeclaredSkeletonConfig, Tag("declared")],
    Discriminator(_get_form),
    BeforeValidator(_read_skeleton),
]
"""The name of a skeleton, or a declared one."""
