"""Translation of raw files with a bundle, with features, dtype and decoding as in training.

Files pass through the functions of the extraction (reader, feature step, dtype of the store), so
the model gets exactly the values of a store. `input_translation` is the loop over many files.

Shapes: T frames, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.config.recipe.sources.estimators import JointEstimatorConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import KinesweepError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.core.units import Span
from kinesweep.data.collate import ClipTokens
from kinesweep.data.prompt import PromptBuilder
from kinesweep.export.bundle import PROMPT_FIELDS
from kinesweep.export.bundle_manifest import check_bundle_files
from kinesweep.export.inference.embedding import ClipEmbeddings, embed_inputs
from kinesweep.export.inference.feature_translation import translate_feature_arrays
from kinesweep.export.inference.loading import load_bundled_model
from kinesweep.export.inference.prompts import PromptChoice, is_side_task_question
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
        bundle_dir: str | Path,
        device: torch.device | str | None = None,
        skip_file_check: bool = False,
        estimator: JointEstimatorConfig | None = None,
    ) -> "Bundle":
        """Load a bundle after checking its files and its feature step.

        Args:
            bundle_dir: Folder written by `export_bundle`.
            device: Device of the model; None selects the default of `Translator.from_pretrained`.
            skip_file_check: Whether to skip `check_bundle_files`, because the caller has called it.
            estimator: Estimator of joints that may run, for a model of estimated motions.

        Raises:
            BundleError: If the folder is no bundle, is damaged, or has features of another version.
            InputError: If the estimator is not that of the training data.
        """
        folder = Path(bundle_dir)
        if not skip_file_check:
            check_bundle_files(folder)
        loaded = load_bundled_model(folder, device, estimator)
        encoder_prompt, decoder_prompt = (str(loaded.features[name]) for name in PROMPT_FIELDS)
        return cls(loaded, encoder_prompt, decoder_prompt)

    def translate(
        self,
        inputs: Sequence[Input | Path | str],
        progress: Callable[[int, int], None] | None = None,
        *,
        prompt: str | None = None,
        question: str | None = None,
        system: str | None = None,
    ) -> list[str]:
        """Translate clips and return their texts in the order of the inputs.

        Args:
            inputs: Clips to translate; a path stands for a whole file with the default prompts.
            progress: Callback that receives the numbers of finished and of all clips, after at most
                256 clips each time.
            prompt: Prompt of each clip in front of the frames; see `with_prompts`.
            question: Question in front of the frames; see `with_prompts`.
            system: Text at the start; see `with_prompts`.

        Raises:
            ClipError: If a file cannot be used; the message names it.
            InputError: If a prompt contains an unknown tag or is of a kind that the model does not
                read, or a file is of another kind than those of the corpus.
            BundleError: If the features of a file do not fit the model.
        """
        bundle = self.with_prompts(prompt, question, system)
        results = translate_inputs(bundle, inputs, progress, stop_at_failure=True)
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

    def embed(
        self,
        inputs: Sequence[Input | Path | str],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[ClipEmbeddings]:
        """Compute the vectors that the model makes of clips; see `ClipEmbeddings` for the shapes.

        The arguments and errors are those of `translate`.
        """
        return embed_inputs(self, inputs, progress)

    def with_prompts(
        self, prompt: str | None = None, question: str | None = None, system: str | None = None
    ) -> "Bundle":
        """Return the bundle with other prompts; what is None stays as it is.

        A question of a side task, such as the recipe's `prompt.word_present` with a word, is asked
        as in training: without the bundle's decoder prompt.

        Args:
            prompt: Prompt of each clip in front of the frames; inputs with their own keep it.
            question: Question or instruction in front of the frames.
            system: Text at the start; with `prompt.chat`, the system turn.

        Raises:
            InputError: If the model was trained without a text of this kind.
        """
        choice, recipe = PromptChoice(prompt, question, system), self.loaded.recipe
        choice.check(recipe.prompt, recipe.batch, self.encoder_prompt)
        is_task = question is not None and is_side_task_question(recipe.prompt, question)
        return replace(
            self,
            loaded=replace(self.loaded, recipe=choice.apply(self.loaded)),
            encoder_prompt=self.encoder_prompt if prompt is None else prompt,
            decoder_prompt="" if is_task else self.decoder_prompt,
        )

    def with_generation(self, **changes: Any) -> "Bundle":
        """Return the bundle with other values of keys of the recipe's `generation` section.

        Example: `bundle.with_generation(num_beams=1, do_sample=True, temperature=0.7, seed=3)`.

        Raises:
            ConfigError: If a key is unknown or a value is invalid.
        """
        generation = self.loaded.recipe.generation.with_changes(**changes)
        recipe = self.loaded.recipe.model_copy(update={"generation": generation})
        return replace(self, loaded=replace(self.loaded, recipe=recipe))

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
        self, file: str | Path, span: Span = Span(), auxiliary_file: Path | None = None
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
        return self.compute_feature_arrays(Input(Path(file), span, auxiliary_file=auxiliary_file))

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
        # A bundle that only computes features was read without its model.
        device = str(getattr(self.loaded.model, "device", AUTO_DEVICE))
        if self.parts:
            return compute_part_features(item, self.parts, metadata, accept, device)
        source, features = recipe.corpora[0], recipe.single_features
        return compute_raw_features(item, source, features, metadata, accept, device)

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
        self,
        features: Sequence[StreamFeatures],
        tokens: Sequence[ClipTokens] | None = None,
        names: Sequence[str] | None = None,
    ) -> list[str]:
        """Translate clips whose features are known, and return their texts in the same order.

        Streams longer than the limits of the recipe's `batch` section are truncated, as in
        training. Decoding uses the recipe's `generation` section.

        Args:
            features: Features of each clip, (T, D) by feature stream, as returned by
                `compute_features`.
            tokens: Prompt tokens of each clip; None selects the default prompts for all.
            names: Name of each clip in the draws of sampling; None: its index.
        """
        if tokens is None:
            tokens = [self.build_prompt_tokens(Input(Path()))] * len(features)
        names = [str(index) for index in range(len(features))] if names is None else names
        return translate_feature_arrays(self.loaded, self.stream_schemas, features, tokens, names)
