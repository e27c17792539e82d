"""Translation of the clips of a batch in a replica, as `kinesweep translate` does it.

The files of each request are read with the functions of the bundle. Clips with equal decoding are
decoded together; a clip that cannot be used, or that does not fit beside the others, costs no other
clip its text. Clips of which alternatives or attention are wanted are decoded alone.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.core.video_files import VideoSegment, is_video_file
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.collate import BatchItem, ClipTokens
from kinesweep.evaluation.attention_inference import translate_with_attention
from kinesweep.evaluation.embedding.single_clip import decode_alternatives
from kinesweep.export import Bundle, Input, find_inputs
from kinesweep.export.inference.clip_names import name_inputs
from kinesweep.export.input_translation import StreamFeatures
from kinesweep.features import Features
from kinesweep.features.texts.text import UNTIMED_RATE_HZ
from kinesweep.report.pose_scene import build_scene
from kinesweep.serving.accepted_inputs import FILE_FIELD, POSES_FIELD, REFERENCE_FIELD
from kinesweep.serving.clip_request import ClipRequest, RequestOptions, UploadedFile
from kinesweep.serving.errors import RequestError
from kinesweep.serving.inference.attention_summary import summarize_attention, summarize_scene
from kinesweep.serving.inference.streamed_media import make_streamed_input
from kinesweep.serving.inference.upload_folder import UploadFolder
from kinesweep.serving.inference.video_poses import PoseEstimator
from kinesweep.serving.limits import ServeLimits
from kinesweep.sources.video.frame_reader import get_duration_s

logger = logging.getLogger(__name__)

ClipResult = dict[str, Any] | RequestError


@dataclass(frozen=True)
class _PreparedClip:
    """A clip whose features and prompts are known.

    Attributes:
        bundle: Bundle with the options of the request.
        options: Options of the request.
        name: Name of the clip in the draws of sampling.
        features: Stream → features.
        tokens: Prompt tokens.
    """

    bundle: Bundle
    options: RequestOptions
    name: str
    features: Mapping[str, Features]
    tokens: ClipTokens

    @property
    def arrays(self) -> StreamFeatures:
        """Return stream → features as an array, (T, D)."""
        return {name: features.x_TD for name, features in self.features.items()}

    @property
    def rates_hz(self) -> dict[str, float]:
        """Return stream → frames per second."""
        return {name: features.rate_hz for name, features in self.features.items()}

    @property
    def duration_s(self) -> float:
        """Return the duration of the longest stream that has times; 0 without such a stream."""
        durations = [
            len(features.x_TD) / features.rate_hz
            for features in self.features.values()
            if features.rate_hz != UNTIMED_RATE_HZ
        ]
        return max(durations, default=0.0)

    @property
    def item(self) -> BatchItem:
        """Return the clip as an input of the model."""
        filled = fill_absent_streams(self.arrays, self.bundle.stream_schemas)
        return BatchItem(self.name, filled, self.tokens)


class ClipTranslator:
    """A loaded bundle that translates the clips of requests.

    Args:
        bundle: Loaded bundle.
        limits: Limits of the server.
        estimate_poses: Function that writes the poses of a video; None: none can be estimated.
    """

    def __init__(
        self, bundle: Bundle, limits: ServeLimits, estimate_poses: PoseEstimator | None = None
    ) -> None:
        self._bundle, self._limits, self._estimate_poses = bundle, limits, estimate_poses
        self._uploads = UploadFolder()

    def translate(self, requests: Sequence[ClipRequest]) -> list[ClipResult]:
        """Translate clips and return the result or the error of each, in the same order."""
        results: dict[int, ClipResult] = {}
        groups: dict[Any, dict[int, _PreparedClip]] = defaultdict(dict)
        for index, request in enumerate(requests):
            prepared = self._prepare(request)
            if isinstance(prepared, RequestError):
                results[index] = prepared
            else:
                # A clip that is decoded alone is a group of its own.
                options = prepared.options
                key = (index,) if options.is_single else options.decoding
                groups[key][index] = prepared
        for group in groups.values():
            results |= self._translate_group(group)
        return [results[index] for index in range(len(requests))]

    def _prepare(self, request: ClipRequest) -> _PreparedClip | RequestError:
        """Read the files of a request and compute its features."""
        with self._uploads.make_request_folder() as folder:
            try:
                bundle = _apply_options(self._bundle, request.options)
                item = self._make_input(request, folder)
                clip = _PreparedClip(
                    bundle,
                    request.options,
                    name_inputs([item])[0],
                    bundle.compute_input_features(item),
                    bundle.build_prompt_tokens(item),
                )
                self._limits.check_duration(clip.duration_s)
            except RequestError as error:
                return error
            except Exception as error:
                return _make_refusal(error, str(folder))
        return clip

    def _make_input(self, request: ClipRequest, folder: Path) -> Input:
        """Write the files of a request to a folder and make an input of them.

        Raises:
            RequestError: If the clip is too long or its file contains several clips.
            KinesweepError: If a file cannot be used.
        """
        recipe = self._bundle.loaded.recipe
        if request.points is not None:
            return make_streamed_input(request.points, recipe.corpora[0], folder)
        files = {file.field: self._write_file(file, folder) for file in request.files}
        if self._bundle.parts:
            streams = {name: Input(files[name]) for name in self._bundle.parts if name in files}
            return Input(next(iter(files.values())), streams=streams)
        clips = find_inputs([files[FILE_FIELD]], recipe.corpora[0])
        if len(clips) != 1:
            raise RequestError(
                422, "several_clips", f"the file contains {len(clips)} clips; send one at a time"
            )
        _, item = clips[0]
        auxiliary = files.get(REFERENCE_FIELD) or files.get(POSES_FIELD)
        return item if auxiliary is None else replace(item, auxiliary_file=auxiliary)

    def _write_file(self, file: UploadedFile, folder: Path) -> Path:
        """Write a file of a request; a video that poses are needed of becomes its `.pose` file.

        Each field has a folder of its own, because files may have equal names.

        Raises:
            RequestError: If a video is too long.
            ClipError: If the poses of a video cannot be estimated.
        """
        path = folder / file.field / file.name
        path.parent.mkdir()
        path.write_bytes(file.content)
        if not is_video_file(file.name):
            return path
        # Before the poses are estimated, which can take longer than the clip lasts.
        self._limits.check_duration(get_duration_s(VideoSegment(path)))
        recipe = self._bundle.loaded.recipe
        needs_poses = file.field == FILE_FIELD and recipe.corpora[0].kind == "pose_tsv"
        uses_crops = not self._bundle.parts and getattr(recipe.features, "uses_poses", False)
        if self._estimate_poses is None or not (needs_poses or uses_crops):
            return path
        # Beside the video, where a model with crops looks for it.
        pose_path = path.with_suffix(".pose")
        self._estimate_poses(path, pose_path)
        return pose_path if needs_poses else path

    def _translate_group(self, group: Mapping[int, _PreparedClip]) -> dict[int, ClipResult]:
        """Translate clips that are decoded together; one by one if that fails."""
        clips = list(group.values())
        try:
            if len(clips) == 1 and clips[0].options.is_single:
                results = [self._describe_single(clips[0])]
            else:
                texts = clips[0].bundle.translate_features(
                    [clip.arrays for clip in clips],
                    [clip.tokens for clip in clips],
                    [clip.name for clip in clips],
                )
                results = [{"text": text} for text in texts]
            described = [self._describe_clip(clip) for clip in clips]
        except Exception as error:
            # One of them may be unusable, or all together too large for the memory of the device.
            if len(clips) > 1:
                single = [self._translate_group({index: clip}) for index, clip in group.items()]
                return {index: result for one in single for index, result in one.items()}
            return dict.fromkeys(group, _make_refusal(error, ""))
        return {
            index: {**result, **facts}
            for index, result, facts in zip(group, results, described, strict=True)
        }

    def _describe_clip(self, clip: _PreparedClip) -> dict[str, Any]:
        """Describe the duration of a clip and, if wanted, its points."""
        described: dict[str, Any] = {"duration_s": round(clip.duration_s, 3)}
        if clip.options.skeleton:
            schemas = self._bundle.stream_schemas
            scenes = {
                name: build_scene(name, one.x_TD, layout, one.rate_hz, schemas[name].has_mask)
                for name, one in clip.features.items()
                if (layout := schemas[name].layout) is not None
            }
            described["skeleton"] = {name: summarize_scene(one) for name, one in scenes.items()}
        return described

    def _describe_single(self, clip: _PreparedClip) -> dict[str, Any]:
        """Translate a clip of which alternatives or attention are wanted.

        Raises:
            InputError: If more alternatives than beams are wanted, or the clip does not fit into
                the model.
        """
        loaded, item, options = clip.bundle.loaded, clip.item, clip.options
        texts = decode_alternatives(loaded, item, options.alternatives, clip.name)
        result: dict[str, Any] = {"text": texts[0].text}
        if options.alternatives > 1:
            result["alternatives"] = [
                {"text": one.text, "score": round(one.score, 5)} for one in texts
            ]
        if options.attention:
            try:
                attended = translate_with_attention(loaded, item)
                result["attention"] = summarize_attention(attended, clip.rates_hz)
            except InputError as error:
                # Some language models do not return their attention; the text is still of use.
                result |= {"attention": None, "warnings": [str(error)]}
        return result


def _make_refusal(error: Exception, folder: str) -> RequestError:
    """Convert an exception of one clip to its error, so that it costs no other clip its text.

    Args:
        error: Exception that reading or translating the clip raised.
        folder: Temporary folder with the files of the request.
    """
    refusal = RequestError.from_input_error(error, folder)
    if refusal is None:
        # A bug: the client gets no traceback, the log of the replica does.
        logger.error("a clip raised an unexpected error", exc_info=error)
        reason = f"unexpected {type(error).__name__}; see the server's log"
        refusal = RequestError(500, "internal", reason)
    return refusal


def _apply_options(bundle: Bundle, options: RequestOptions) -> Bundle:
    """Return a bundle with the prompts and the decoding of a request.

    Raises:
        InputError: If the model was trained without a prompt of a kind that is given, or an option
            has no effect.
        ConfigError: If the decoding is invalid.
    """
    generation = bundle.loaded.recipe.generation
    draws = options.sample or generation.do_sample
    if not draws and (options.seed is not None or options.temperature is not None):
        raise InputError("`seed` and `temperature` have no effect without `sample`")
    if draws and max(options.num_beams or 1, options.alternatives) > 1:
        raise InputError(
            "`num_beams` and `alternatives` above 1 need beam search, which draws exclude; remove"
            f" them{' or `sample`' if options.sample else ''}"
        )
    # Draws exclude beam search, so the beams of the recipe do not apply.
    changes: dict[str, Any] = {"do_sample": True, "num_beams": 1} if options.sample else {}
    for name in ("num_beams", "seed", "temperature"):
        if (value := getattr(options, name)) is not None:
            changes[name] = value
    changed = bundle.with_generation(**changes) if changes else bundle
    if options.accept_rate:
        changed = replace(changed, accept_rate=True)
    return changed.with_prompts(options.prompt, options.question, options.system)
