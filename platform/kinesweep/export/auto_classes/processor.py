"""The processor of a bundle: raw files or arrays in, model inputs out; token ids in, texts out.

It computes features as the extraction did, through the dtype of the store, so `model.generate` gets
the values that `kinesweep translate` gives it. Importing this module registers the processor with
Hugging Face's `AutoProcessor`.

Shapes: B clips, T frames, D width, J joints, C coordinates, L tokens.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor
from transformers import AutoProcessor, BatchFeature, ProcessorMixin

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.checkpoints.model_dir_files import read_feature_description
from kinesweep.core.errors import BundleError, InputError
from kinesweep.data.collate import BatchItem, collate
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.decoding import build_decoding_arguments
from kinesweep.export.auto_classes.clip_inputs import (
    ClipInput,
    FeatureArray,
    as_input,
    name_clips,
)
from kinesweep.export.bundle import PROMPT_FIELDS, read_bundle_recipe
from kinesweep.export.hub.download import find_bundle_dir
from kinesweep.export.inference.feature_translation import limit_features
from kinesweep.export.inference.loading import complete_bundled_model
from kinesweep.export.input_translation import StreamFeatures
from kinesweep.export.raw_inputs import Input
from kinesweep.export.translate import Bundle
from kinesweep.models import KinesweepConfig
from kinesweep.models.translator import Translator

# Arguments of `from_pretrained` that concern the download.
_DOWNLOAD_OPTIONS = ("cache_dir", "token", "local_files_only", "force_download")


class MotionBatch(BatchFeature):
    """The inputs of `Translator.generate`; `to` moves the streams, which are nested, too."""

    def to(self, *args: Any, **kwargs: Any) -> "MotionBatch":
        """Move all tensors to a device; the dtype of features is that of the model's input."""
        super().to(*args, **kwargs)
        for name in ("streams", "frame_masks"):
            self.data[name] = {key: x.to(*args, **kwargs) for key, x in self.data[name].items()}
        return self


class KinesweepProcessor(ProcessorMixin):
    """The part of a bundle that is not the model: features, prompts and tokenizer.

    Args:
        tokenizer: Hugging Face tokenizer.
        bundle: Bundle without a model; `from_pretrained` sets it.
    """

    def __init__(self, tokenizer: Any, bundle: Bundle | None = None) -> None:
        super().__init__(tokenizer=tokenizer)
        if bundle is None:
            raise InputError("a processor belongs to a bundle; use `from_pretrained`")
        self._bundle = bundle

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, **kwargs: Any
    ) -> Self:
        """Load the processor of a bundle, after checking all files of the bundle.

        Args:
            name: Folder of a bundle, or `OWNER/NAME` on the Hub.
            revision: Branch, tag or commit on the Hub.
            **kwargs: Arguments of Hugging Face; those that concern the download are used.

        Raises:
            BundleError: If there is no bundle, it is damaged or of another version.
            HubError: If the Hub cannot be reached, or has no such bundle.
        """
        options = {key: kwargs[key] for key in _DOWNLOAD_OPTIONS if kwargs.get(key)}
        # Hugging Face resolves the revision of a folder too.
        folder = find_bundle_dir(name, None if Path(name).exists() else revision, **options)
        bundle = _load_bundle_without_model(folder, folder != Path(name))
        return cls(bundle.loaded.tokenizer.tokenizer, bundle)

    def save_pretrained(self, *_: Any, **__: Any) -> Any:
        """Refuse to save a processor alone, because its files are those of a bundle."""
        raise InputError(
            "a processor is not saved alone: its files are verified as part of the bundle; copy the"
            " folder of the bundle, or `kinesweep.push_bundle` it"
        )

    def with_model(self, model: Translator) -> Bundle:
        """Return a bundle that translates with a model."""
        return replace(self._bundle, loaded=replace(self._bundle.loaded, model=model))

    def __call__(
        self,
        clips: ClipInput | Sequence[ClipInput],
        *,
        prompt: str | None = None,
        question: str | None = None,
        system: str | None = None,
    ) -> MotionBatch:
        """Compute the inputs of `Translator.generate`, padded, (B, T, D) for each stream.

        Args:
            clips: One clip or several.
            prompt: Prompt of each clip in front of the frames; None: that of training.
            question: Question in front of the frames; None: that of the recipe.
            system: Text at the start; None: that of the recipe.

        Raises:
            BundleError: If the features of a file do not fit the model.
            ClipError: If a file cannot be used.
            InputError: If an array has another shape, or a prompt is not one of the model.
        """
        clips = list(clips) if isinstance(clips, list | tuple) else [cast(ClipInput, clips)]
        if not clips:
            raise InputError("there are no clips")
        bundle = self._bundle.with_prompts(prompt, question, system)
        recipe = bundle.loaded.recipe
        items = []
        for clip, name in zip(clips, name_clips(clips), strict=True):
            streams = limit_features(
                compute_clip_features(bundle, clip), recipe.effective_batch, bundle.stream_schemas
            )
            tokens = bundle.build_prompt_tokens(as_input(clip))
            items.append(BatchItem(name, streams, tokens))
        pad_id = bundle.loaded.tokenizer.vocabulary.pad_id
        batch = collate(items, pad_id, recipe.batch.ablation == "zeros")
        forced = {"forced_ids": batch.forced_ids_BF, "forced_mask": batch.forced_mask_BF}
        return MotionBatch({**batch.get_generate_kwargs(), **forced})

    def get_generation_kwargs(self, inputs: MotionBatch, **changes: Any) -> dict[str, Any]:
        """Return the arguments with which `Translator.generate` decodes as the recipe says.

        Args:
            inputs: Inputs of the model, whose clips are named in the draws of sampling.
            **changes: Other values of keys of the recipe's `generation` section.

        Raises:
            ConfigError: If a key is unknown or a value is invalid.
        """
        generation = self._bundle.with_generation(**changes).loaded.recipe.generation
        return build_decoding_arguments(generation, generation.num_beams, inputs["clip_ids"])

    def batch_decode(self, ids_BL: Tensor, forced_ids: Tensor | None = None, **_: Any) -> list[str]:
        """Decode generated token ids (B, L) to texts, without special tokens and prompts.

        Args:
            ids_BL: Result of `Translator.generate`.
            forced_ids: `forced_ids` of the inputs, which are removed from the start of a text.
        """
        prompts: Any = [()] * len(ids_BL) if forced_ids is None else forced_ids.tolist()
        tokenizer, generation = self._bundle.loaded.tokenizer, self._bundle.loaded.recipe.generation
        rows = torch.as_tensor(ids_BL).tolist()
        return [
            tokenizer.decode(ids, prompt, generation.truecase)
            for ids, prompt in zip(rows, prompts, strict=True)
        ]


def _load_bundle_without_model(folder: Path, skip_file_check: bool) -> Bundle:
    """Load all of a bundle except for its model, which is None.

    Args:
        folder: Folder of the bundle.
        skip_file_check: Whether the files were checked before.
    """
    recipe = read_bundle_recipe(folder, skip_file_check)
    # Nothing that computes features or prompts reads the model.
    no_model = cast(Translator, None)
    features = read_feature_description(folder)
    loaded = LoadedModel(no_model, TextTokenizer.load(folder), recipe, features)
    loaded = complete_bundled_model(folder, loaded)
    encoder_prompt, decoder_prompt = (str(loaded.features[name]) for name in PROMPT_FIELDS)
    return Bundle(loaded, encoder_prompt, decoder_prompt)


def compute_clip_features(bundle: Bundle, clip: ClipInput) -> StreamFeatures:
    """Compute the features of a clip as a store would contain them, (T, D) by stream.

    Args:
        bundle: Bundle that computes features; its model is not used.
        clip: File, features, or motion.

    Raises:
        BundleError: If the features of a file do not fit the model.
        ClipError: If a file cannot be used.
        InputError: If an array has another shape, or is not of finite numbers.
    """
    if isinstance(clip, np.ndarray) and clip.ndim == 3:
        return _compute_motion_features(bundle, clip)
    if not isinstance(clip, np.ndarray | dict):
        return bundle.compute_feature_arrays(as_input(clip))
    schemas = bundle.stream_schemas
    streams = clip if isinstance(clip, dict) else {next(iter(schemas)): clip}
    if streams.keys() != schemas.keys():
        raise InputError(
            f"the model reads features of {', '.join(f'`{name}`' for name in schemas)}, but there"
            f" are those of {', '.join(f'`{name}`' for name in streams)}; pass a dictionary"
        )
    return {name: _check_features(name, x, schemas[name]) for name, x in streams.items()}


def _check_features(stream: str, x_TD: FeatureArray, schema: Any) -> FeatureArray:
    """Return features in the dtype of the store, after checking them.

    Args:
        stream: Name of the stream.
        x_TD: Features, which should have the shape (T, D).
        schema: Schema of the stream.

    Raises:
        InputError: If they have another shape or are not finite in this dtype.
    """
    x_TD = np.asarray(x_TD)
    is_numeric = x_TD.dtype.kind in "fiu"
    has_shape = x_TD.ndim == 2 and len(x_TD) > 0 and x_TD.shape[1] == schema.width
    if not is_numeric or not has_shape or not np.isfinite(x_TD).all():
        raise InputError(
            f"features of `{stream}` must be frames × {schema.width} finite numbers, but have the"
            f" shape {x_TD.shape} and the dtype {x_TD.dtype}"
        )
    with np.errstate(over="ignore"):  # reported below
        stored_TD = x_TD.astype(schema.dtype)
    # An extraction would drop such a clip, so the model never saw infinite features.
    if not np.isfinite(stored_TD).all():
        raise InputError(
            f"features of `{stream}` must fit into {schema.dtype}, in which features of the model"
            f" are stored, but the largest is {np.abs(x_TD).max():g}"
        )
    return stored_TD


def _compute_motion_features(bundle: Bundle, motion_TJC: FeatureArray) -> StreamFeatures:
    """Compute the features of a motion as of a file with it.

    Raises:
        InputError: If the model was not trained on motions.
    """
    source = None if bundle.parts else bundle.loaded.recipe.corpora[0]
    if source is None or source.kind != "skeletons":
        raise InputError(
            f"an array of the shape {motion_TJC.shape} is a motion, which this model does not read;"
            " pass the path of a file, or features (frames × numbers)"
        )
    # Read from a file, so that all checks of the reader apply.
    with tempfile.TemporaryDirectory() as temp_dir:
        path = Path(temp_dir, "clip.npy")
        np.save(path, motion_TJC, allow_pickle=False)
        return bundle.compute_feature_arrays(Input(path))


def require_processor(processor: Any) -> KinesweepProcessor:
    """Return a processor after checking that it is one of a bundle.

    Raises:
        BundleError: If it is not.
    """
    if not isinstance(processor, KinesweepProcessor):
        raise BundleError(
            "`motion-to-text` needs a bundle of Kinesweep, or a model with its `processor`"
        )
    return processor


AutoProcessor.register(KinesweepConfig, KinesweepProcessor, exist_ok=True)
