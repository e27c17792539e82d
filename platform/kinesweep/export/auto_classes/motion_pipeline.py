"""The task `motion-to-text` of `transformers.pipeline`: files or arrays in, texts out.

Its texts are those of `kinesweep translate`, because it translates with the same bundle. A list is
translated as one batch by length; a generator clip by clip, as its items arrive. This module is
imported with `transformers.pipelines`, so all that computes is imported when it is used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers.pipelines.base import Pipeline

from kinesweep.core.errors import InputError
from kinesweep.export.hub.card_metadata import MOTION_TASK

if TYPE_CHECKING:
    from kinesweep.export.auto_classes.clip_inputs import ClipInput
    from kinesweep.export.translate import Bundle

_PROMPTS = ("prompt", "question", "system")
_TEXT_KEY = "generated_text"


class MotionToTextPipeline(Pipeline):
    """A pipeline that translates clips.

    Options of the constructor and of a call are `prompt`, `question`, `system`, `accept_rate`, and
    the keys of the recipe's `generation` section, such as `num_beams`.
    """

    _load_processor = True
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from kinesweep.export.auto_classes.processor import require_processor

        is_default_dtype = kwargs.get("dtype") in (None, "auto")
        super().__init__(*args, **kwargs)
        if is_default_dtype and not getattr(self.model, "is_quantized", False):
            self.model.float()  # as bundles are evaluated
        self.model.eval()
        self._bundle = require_processor(self.processor).with_model(self.model)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Translate one clip, a list or a generator of clips.

        Args:
            inputs: Path, `kinesweep.export.Input`, features (T, D) or motion (T, J, C) of a clip;
                or a list, a generator or a data set of them.
            **kwargs: Options; `batch_size` limits the clips of a list that are read at once.

        Returns:
            `{"generated_text": …}` for a clip, a list of them for a list, otherwise an iterator.

        Raises:
            ConfigError: If an option is unknown or a value is invalid.
            KinesweepError: If a clip cannot be translated.
        """
        if not isinstance(inputs, list | tuple):
            return super().__call__(inputs, **kwargs)
        kwargs.pop("num_workers", None)  # files are read in this process
        batch_size = kwargs.pop("batch_size", None)
        if batch_size is None:
            batch_size = self._batch_size or max(len(inputs), 1)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(
                f"`batch_size` must be a whole number of at least 1, but is {batch_size!r}"
            )
        _, params, _ = self._sanitize_parameters(**kwargs)
        bundle = self._configure({**self._forward_params, **params})
        texts = []
        for start in range(0, len(inputs), batch_size):
            texts += _translate(bundle, inputs[start : start + batch_size])
        return [self.postprocess(text) for text in texts]

    def _sanitize_parameters(
        self, **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return the options of preprocessing, translation and postprocessing."""
        return {}, options, {}

    def preprocess(self, input_: Any, **_: Any) -> Any:
        """Return a clip of a generator as it is; it is read when it is translated."""
        return {"clip": input_}

    def forward(self, model_inputs: Any, **options: Any) -> Any:
        """Translate a clip of a generator."""
        return self._forward(model_inputs, **options)

    def _forward(self, input_tensors: Any, **options: Any) -> Any:
        """Translate a clip of a generator."""
        return _translate(self._configure(options), [input_tensors["clip"]])[0]

    def postprocess(self, model_outputs: Any, **_: Any) -> dict[str, str]:
        """Return a text in the form of transformers' pipelines."""
        return {_TEXT_KEY: model_outputs}

    def _configure(self, options: dict[str, Any]) -> "Bundle":
        """Return the bundle with prompts and decoding of the options."""
        from dataclasses import replace

        prompts = {key: options[key] for key in _PROMPTS if key in options}
        accept_rate = options.get("accept_rate", False)
        changes = {k: v for k, v in options.items() if k not in (*_PROMPTS, "accept_rate")}
        bundle = replace(self._bundle.with_prompts(**prompts), accept_rate=accept_rate)
        return bundle.with_generation(**changes) if changes else bundle


def _translate(bundle: "Bundle", clips: "Sequence[ClipInput]") -> list[str]:
    """Translate clips, of which some may be arrays.

    Args:
        bundle: Bundle with the model.
        clips: Clips.
    """
    import numpy as np

    from kinesweep.export.auto_classes.clip_inputs import as_input, name_clips
    from kinesweep.export.auto_classes.processor import compute_clip_features

    if not any(isinstance(clip, np.ndarray | dict) for clip in clips):
        return bundle.translate([as_input(clip) for clip in clips])
    features = [compute_clip_features(bundle, clip) for clip in clips]
    tokens = [bundle.build_prompt_tokens(as_input(clip)) for clip in clips]
    return bundle.translate_features(features, tokens, name_clips(clips))


def register_pipeline() -> None:
    """Register the task; a second time it does nothing."""
    from transformers import AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    if MOTION_TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            MOTION_TASK, MotionToTextPipeline, pt_model=AutoModel, type="multimodal"
        )
