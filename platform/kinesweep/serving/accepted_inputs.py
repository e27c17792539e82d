"""The inputs that a bundle accepts over HTTP: form fields and their kinds of files.

They follow from the recipe of the bundle, which is read without loading the model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir_files import FEATURES_FILENAME
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import SingleSourceConfig
from kinesweep.core.schema import StreamSchema
from kinesweep.core.video_files import VIDEO_SUFFIXES, is_video_file
from kinesweep.export.bundle import read_bundle_recipe
from kinesweep.export.part_inputs import list_raw_parts
from kinesweep.export.raw_file_kinds import get_raw_file_kind
from kinesweep.export.raw_inputs import describe_raw_files, get_raw_file_filter
from kinesweep.serving.clip_request import UploadedFile
from kinesweep.serving.errors import RequestError

FILE_FIELD = "file"
REFERENCE_FIELD = "reference"
POSES_FIELD = "poses"
# Kinds of corpora whose clips can be sent frame by frame over a WebSocket.
_STREAMED_KINDS = ("pose_tsv", "skeletons", "feature_tsv")


@dataclass(frozen=True)
class AcceptedInputs:
    """The inputs of a bundle.

    Attributes:
        name: Display name of the bundle.
        recipe: Recipe of the bundle.
        streams: Stream → schema in the training data.
        sources: Form field → corpus whose kind of files it takes.
        estimates_poses: Whether the server estimates the poses of videos.
    """

    name: str
    recipe: Recipe
    streams: Mapping[str, StreamSchema]
    sources: Mapping[str, SingleSourceConfig]
    estimates_poses: bool = False

    @classmethod
    def read(cls, bundle_dir: Path, estimates_poses: bool = False) -> "AcceptedInputs":
        """Read the inputs of a bundle after checking its files.

        Raises:
            BundleError: If the folder is not a bundle or is damaged.
        """
        recipe = read_bundle_recipe(bundle_dir)
        schemas = json.loads((bundle_dir / FEATURES_FILENAME).read_text())["streams"]
        parts = list_raw_parts(recipe)
        sources = {name: part.source for name, part in parts.items()}
        return cls(
            bundle_dir.resolve().name,
            recipe,
            {name: StreamSchema.from_json(schema) for name, schema in schemas.items()},
            sources or {FILE_FIELD: recipe.corpora[0]},
            estimates_poses,
        )

    @property
    def has_parts(self) -> bool:
        """Return whether a clip has a file for each of several parts."""
        return FILE_FIELD not in self.sources

    @property
    def uses_reference(self) -> bool:
        """Return whether the model compares a motion with a reference motion."""
        return not self.has_parts and getattr(self.recipe.features, "reference", None) is not None

    @property
    def uses_crops(self) -> bool:
        """Return whether poses locate crops in the frames of videos."""
        return not self.has_parts and bool(getattr(self.recipe.features, "uses_poses", False))

    @property
    def streamed_kind(self) -> str | None:
        """Return the kind of corpus whose frames a WebSocket takes; None if it takes none."""
        kind = self.recipe.corpora[0].kind
        return kind if not self.has_parts and kind in _STREAMED_KINDS else None

    @property
    def files(self) -> dict[str, str]:
        """Return form field → description of its files."""
        descriptions = {name: self._describe(source) for name, source in self.sources.items()}
        if self.uses_reference:
            descriptions[REFERENCE_FIELD] = "motion to compare with (optional)"
        if self.uses_crops:
            optional = " (optional: the server estimates them)" if self.estimates_poses else ""
            descriptions[POSES_FIELD] = f"`.pose` file of the video{optional}"
        return descriptions

    @property
    def takes_videos(self) -> bool:
        """Return whether a single video is enough for a translation, as from a webcam."""
        if self.has_parts:
            return False
        if self.uses_crops:
            return self.estimates_poses
        return self._accepts(self.sources[FILE_FIELD], "clip.webm")

    def check_files(self, files: tuple[UploadedFile, ...]) -> None:
        """Check that each file is in a known field and of the right kind.

        Raises:
            RequestError: If there is no file, or one is empty, unknown, repeated or of another
                kind.
        """
        allowed = {"files": self.files}
        names = [file.field for file in files]
        # A reference or poses alone are no clip.
        if not any(name in self.sources for name in names):
            raise RequestError(400, "no_file", "the request contains no file", allowed)
        for file in files:
            if file.field not in self.files or names.count(file.field) > 1:
                what = "occurs twice" if file.field in self.files else "is unknown"
                raise RequestError(
                    422, "invalid_field", f"the field `{file.field}` {what}", allowed
                )
            if not file.content:
                raise RequestError(400, "empty_file", f"`{file.name}` is empty", allowed)
            source = self.sources.get(file.field, self.recipe.corpora[0])
            is_poses = file.field == POSES_FIELD and file.name.lower().endswith(".pose")
            if not is_poses and not self._accepts(source, file.name):
                raise RequestError(
                    415,
                    "unsupported_file",
                    f"`{file.name}` is not one of the kinds of files that `{file.field}` takes",
                    allowed,
                )

    def get_default_name(self, field: str) -> str:
        """Return the name of a file that comes without one, with the suffix of its kind.

        Args:
            field: Form field of the file; the suffix of an unknown one is that of the first field.
        """
        source = self.sources.get(field, next(iter(self.sources.values())))
        return f"clip{get_raw_file_kind(source).suffix}"

    def describe(self) -> dict[str, Any]:
        """Return the inputs and the streams as plain values."""
        generation = self.recipe.generation
        return {
            "bundle": self.name,
            "files": self.files,
            "takes_videos": self.takes_videos,
            "streams_frames": self.streamed_kind is not None,
            "generation": {
                "num_beams": generation.num_beams,
                "max_new_tokens": generation.max_new_tokens,
                "do_sample": generation.do_sample,
            },
            "streams": {name: schema.to_json() for name, schema in self.streams.items()},
        }

    def _accepts(self, source: SingleSourceConfig, name: str) -> bool:
        """Return whether a file name is one of the kind of a corpus."""
        if source.kind == "pose_tsv" and self.estimates_poses and is_video_file(name):
            return True
        return get_raw_file_filter(source)(Path(name))

    def _describe(self, source: SingleSourceConfig) -> str:
        """Describe the files of a field, as a plural noun."""
        text = describe_raw_files(source)
        if source.kind == "pose_tsv" and self.estimates_poses:
            return f"{text} or videos ({', '.join(VIDEO_SUFFIXES)})"
        return text
