"""Translation of raw files with a bundle, with features, dtype and decoding as in training.

A file passes through the same functions as during extraction (reader, feature step, dtype of the
store), so the model receives exactly the values that a store would contain. `input_translation` is
the loop over many files.

Shapes: T frames, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.sources.estimators import JointEstimatorConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, KinesweepError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.units import Span
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.bucketing import split_into_batches
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.evaluation import FixedBatches
from kinesweep.data.length_limits import truncate_streams
from kinesweep.data.prompt import PromptBuilder
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.export.bundle import (
    FEATURE_STEP_KEY,
    PROMPT_FIELDS,
    compute_step_fingerprints,
)
from kinesweep.export.bundle_manifest import check_bundle_files
from kinesweep.export.bundled_encoder import use_bundled_encoder
from kinesweep.export.estimated_motions import choose_estimator
from kinesweep.export.input_translation import StreamFeatures, encode_prompt, translate_inputs
from kinesweep.export.part_inputs import RawPart, list_raw_parts
from kinesweep.export.raw_features import compute_part_features, compute_raw_features
from kinesweep.export.raw_inputs import Input
from kinesweep.features import Features


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle, ready to translate.

    Attributes:
        loaded: Model, tokenizer, recipe and description of the features.
        encoder_prompt: Default prompt in front of the frames.
        decoder_prompt: Default prefix of the output text.
        accept_rate: Whether to accept files with another frame rate than the training data.
    """

    loaded: LoadedModel
    encoder_prompt: str
    decoder_prompt: str
    accept_rate: bool = False

    @classmethod
    def load(
        cls,
        bundle_dir: Path,
        device: torch.device | str | None = None,
        skip_file_check: bool = False,
        estimator: JointEstimatorConfig | None = None,
    ) -> "Bundle":
        """Load a bundle after checking its files and its feature step.

        Args:
            bundle_dir: Folder written by `export_bundle`.
            device: Device of the model; None selects the default of `Translator.from_pretrained`.
            skip_file_check: Whether to skip `check_bundle_files`, because the caller has called it.
            estimator: Estimator of joints that may run, for a model of motions that were estimated
                from videos; an installed plug-in need not be given.

        Raises:
            BundleError: If the folder is not a bundle or is damaged, or if this version computes
                its features differently.
            InputError: If the estimator is not that of the training data.
        """
        if not skip_file_check:
            check_bundle_files(bundle_dir)
        try:
            loaded = read_model_folder(bundle_dir, device)
        except KinesweepError as error:
            raise BundleError(f"the bundle `{bundle_dir}` cannot be loaded: {error}") from None
        required_keys = (FEATURE_STEP_KEY, "store_dtype", "streams", *PROMPT_FIELDS)
        if missing_keys := [key for key in required_keys if key not in loaded.features]:
            raise BundleError(
                f"`features.json` of the bundle `{bundle_dir}` lacks {', '.join(missing_keys)};"
                " export the run again"
            )
        loaded = replace(loaded, recipe=use_bundled_encoder(loaded.recipe, bundle_dir))
        # The fingerprint covers the code version and the weights of encoders, so raw files can
        # never silently get features that the model was not trained on.
        fingerprints = compute_step_fingerprints(
            loaded.recipe.features, list_raw_parts(loaded.recipe)
        )
        if fingerprints != loaded.features[FEATURE_STEP_KEY]:
            raise BundleError(
                f"the bundle `{bundle_dir}` was trained on features that this version of Kinesweep"
                " computes differently; use the version that the model card names"
            )
        loaded = replace(loaded, recipe=choose_estimator(loaded.recipe, estimator))
        encoder_prompt, decoder_prompt = (str(loaded.features[name]) for name in PROMPT_FIELDS)
        return cls(loaded, encoder_prompt, decoder_prompt)

    def translate(
        self,
        inputs: Sequence[Input | Path | str],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Translate clips and return their texts in the order of the inputs.

        Args:
            inputs: Clips to translate; a path stands for a whole file with the default prompts.
            progress: Callback that receives the numbers of finished and of all clips, after at most
                256 clips each time.

        Raises:
            ClipError: If a file cannot be used; the message names it.
            InputError: If a prompt contains an unknown tag, or a file is of another kind than those
                of the corpus.
            BundleError: If the features of a file do not fit the model.
        """
        results = translate_inputs(self, inputs, progress, stop_at_failure=True)
        return [text for text in results if isinstance(text, str)]

    def translate_each(
        self,
        inputs: Sequence[Input | Path | str],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str | KinesweepError]:
        """Translate clips and go on after those that cannot be translated.

        The text of a clip that cannot be translated is missing in the context of later clips of its
        document, which is logged.

        Args:
            inputs: Clips to translate; a path stands for a whole file with the default prompts.
            progress: Callback that receives the numbers of finished and of all clips.

        Returns:
            Text of each clip in the order of the inputs, or the error that explains why there is
            none.
        """
        return translate_inputs(self, inputs, progress, stop_at_failure=False)

    @cached_property
    def parts(self) -> dict[str, RawPart]:
        """Return the parts of the model's features by stream; empty for a single kind."""
        return list_raw_parts(self.loaded.recipe)

    @cached_property
    def stream_schemas(self) -> dict[str, StreamSchema]:
        """Return stream → schema in the training data."""
        schemas = self.loaded.features["streams"]
        return {name: StreamSchema.from_json(schema) for name, schema in schemas.items()}

    @property
    def uses_context(self) -> bool:
        """Return whether the generated texts of earlier clips of a document are used as context."""
        context = self.loaded.recipe.context
        return context.is_enabled and context.decoding_context != "none"

    @property
    def uses_reference_motion(self) -> bool:
        """Return whether the model compares a motion with a reference motion."""
        return getattr(self.loaded.recipe.features, "reference", None) is not None

    def compute_features(
        self, file: Path, span: Span = Span(), auxiliary_file: Path | None = None
    ) -> StreamFeatures:
        """Compute the feature arrays of a file as a store would contain them.

        Args:
            file: Path of a file like those of the corpus: poses, a video, a motion or features.
            span: Part of the file; the whole file by default.
            auxiliary_file: Path of a second file. For a video with crops: its poses, by default
                those next to it. For a motion: the reference motion, by default the motion itself.

        Returns:
            Feature stream → features, (T, D).

        Raises:
            ClipError: If the file cannot be used; the message names it.
            InputError: If the file is of another kind than those of the corpus.
            BundleError: If its points differ from those of the corpus.
        """
        return self.compute_feature_arrays(Input(file, span, auxiliary_file=auxiliary_file))

    def compute_feature_arrays(self, item: Input) -> StreamFeatures:
        """Compute the feature arrays of an input, (T, D) by feature stream.

        Raises the errors of `compute_input_features`.
        """
        return {
            stream: features.x_TD for stream, features in self.compute_input_features(item).items()
        }

    def compute_input_features(self, item: Input) -> dict[str, Features]:
        """Compute the features of an input, with their frame rates, as a store would contain them.

        Returns:
            Feature stream → features; without streams of which a clip has no file.

        Raises:
            ClipError: If the file cannot be used; the message names it.
            InputError: If the file is of another kind than those of the corpus.
            BundleError: If its points differ from those of the corpus.
        """
        recipe, metadata, accept = self.loaded.recipe, self.loaded.features, self.accept_rate
        if self.parts:
            return compute_part_features(item, self.parts, metadata, accept)
        return compute_raw_features(
            item, recipe.corpora[0], recipe.single_features, metadata, accept
        )

    def build_prompt_tokens(self, item: Input) -> ClipTokens:
        """Build the prompt tokens of an input that has no context.

        Raises:
            InputError: If a prompt contains an unknown tag.
        """
        prompter = PromptBuilder(self.loaded.tokenizer, self.loaded.recipe.prompt_settings)
        return encode_prompt(prompter, self.make_clip(item))

    def make_clip(self, item: Input, index: int = 0) -> Clip:
        """Convert an input to a clip without text and media, with the bundle's default prompts.

        Args:
            item: Clip to translate; its own prompts replace the defaults.
            index: Index of the input in the list, from which the ID of the clip is made.
        """
        # Zero-padded indices as IDs, so that sorting by ID keeps the order of the list. The text is
        # unknown, and `Clip.media` is unused: features are read from the input itself.
        encoder_prompt, decoder_prompt = item.encoder_prompt, item.decoder_prompt
        return Clip(
            id=f"{index:09d}",
            split="test",
            media="",
            encoder_prompt=self.encoder_prompt if encoder_prompt is None else encoder_prompt,
            decoder_prompt=self.decoder_prompt if decoder_prompt is None else decoder_prompt,
            document=item.document if self.uses_context else "",
            order=item.order,
        )

    def translate_features(
        self, features: Sequence[StreamFeatures], tokens: Sequence[ClipTokens] | None = None
    ) -> list[str]:
        """Translate clips whose features are known, and return their texts in the same order.

        Streams longer than the limits of the recipe's `batch` section are truncated, as in
        training. Decoding uses the recipe's `generation` section.

        Args:
            features: Features of each clip, (T, D) by feature stream, as returned by
                `compute_features`.
            tokens: Prompt tokens of each clip; None selects the default prompts for all.
        """
        recipe, tokenizer = self.loaded.recipe, self.loaded.tokenizer
        if tokens is None:
            tokens = [self.build_prompt_tokens(Input(Path()))] * len(features)
        features = [
            fill_absent_streams(
                truncate_streams(streams, recipe.effective_batch), self.stream_schemas
            )
            for streams in features
        ]
        lengths = [max(len(x_TD) for x_TD in streams.values()) for streams in features]
        # Clips of similar length share a batch; the indices serve as IDs to restore the order.
        indices_by_length = sorted(range(len(features)), key=lambda index: lengths[index])
        batch_config = BatchConfig(max_frames=recipe.evaluation.max_frames)
        zero_features = recipe.batch.ablation == "zeros"
        batches = [
            collate(
                [BatchItem(str(index), features[index], tokens[index]) for index in clip_indices],
                tokenizer.vocabulary.pad_id,
                zero_features,
            )
            for clip_indices in split_into_batches(indices_by_length, lengths, batch_config)
        ]
        generation = recipe.generation
        texts_by_id = decode_batches(
            self.loaded.model, tokenizer, FixedBatches(batches), generation.num_beams, generation
        )
        return [texts_by_id[str(index)] for index in range(len(features))]
