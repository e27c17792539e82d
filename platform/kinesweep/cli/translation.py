"""Commands that use a model on clips: translate, attention.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinesweep.cli.console import (
    JsonOption,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.cli.inference.device_option import DeviceOption
from kinesweep.cli.inference.hub_options import RevisionOption
from kinesweep.cli.inference.options import (
    AcceptRateOption,
    InferenceOptions,
    PromptOption,
    QuestionOption,
    SampleOption,
    SeedOption,
    SystemOption,
    TemperatureOption,
)
from kinesweep.cli.model_argument import AnyModelArgument, BundleArgument
from kinesweep.core.errors import InputError, KinesweepError
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.pipelines.progress import show_progress_bar

if TYPE_CHECKING:
    from kinesweep.export import Bundle, Input
    from kinesweep.export.input_failure import InputFailure


@wrap_command
def translate(  # noqa: PLR0913 (options of a command)
    bundle: BundleArgument,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Poses, videos, features, images or `.txt` files with a text in each line (as in"
            " training), folders of them, or a TSV.",
            show_default=False,
        ),
    ] = None,
    stream_files: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="STREAM=FILE",
            help="File of one stream of a clip, for a model with several parts of features; repeat"
            " it for each stream.",
            show_default=False,
        ),
    ] = None,
    document: Annotated[
        bool,
        typer.Option(
            "--document",
            help="Treat the inputs as consecutive clips of one document: a model trained with"
            " `context` reads its own translations of the previous clips.",
        ),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Reference motion for all inputs, for a model that compares motions. Default: each"
            " input is its own reference."
        ),
    ] = None,
    accept_rate: AcceptRateOption = False,
    estimator: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="KINESWEEP_ESTIMATOR",
            help="YAML file with `source.estimator` of the training recipe, which finds the joints"
            " of videos, for a model of estimated motions. Installed plug-ins need none.",
            show_default=False,
        ),
    ] = None,
    prompt: PromptOption = None,
    question: QuestionOption = None,
    system: SystemOption = None,
    sample: SampleOption = False,
    seed: SeedOption = None,
    temperature: TemperatureOption = None,
    device: DeviceOption = AUTO_DEVICE,
    revision: RevisionOption = None,
    json_line: JsonOption = False,
) -> None:
    """Translate raw files to text and print one line per clip: its name, a tab, the text.

    Clips that cannot be translated are listed at the end, and the exit code is then 2.

    Files have no context unless `--document` is given or a TSV has a column `document`.

    Example: kinesweep translate .kinesweep/exports/sample .kinesweep/sample/poses/test
    """
    from kinesweep.export import find_inputs
    from kinesweep.export.hub.download import find_bundle_recipe
    from kinesweep.export.input_failure import InputFailure
    from kinesweep.export.part_inputs import list_raw_parts, parse_stream_files

    failures: list[InputFailure] = []
    bundle_dir, recipe = find_bundle_recipe(bundle, revision)
    options = InferenceOptions(prompt, question, system, sample, seed, temperature)
    options.check(recipe.generation)
    parts = list_raw_parts(recipe)
    named_clips = parse_stream_files(stream_files or (), parts, has_paths=bool(inputs))
    named_clips += find_inputs(inputs or (), recipe.corpora[0], document, failures, parts)
    num_inputs = len(named_clips) + len(failures)
    # A bundle takes seconds to load, which is no use if no input can be translated.
    results: list[str | KinesweepError] = []
    if named_clips:
        loading = _BundleLoading(bundle_dir, device, accept_rate, options, estimator)
        results = _translate_clips(loading, named_clips, document, reference)
    texts = _print_translations([name for name, _ in named_clips], results, failures)
    print_json_result(texts, json_line)
    if failures:
        _print_failures(failures, num_inputs)
        raise typer.Exit(2)


def _print_translations(
    names: Sequence[str],
    results: Sequence[str | KinesweepError],
    failures: "list[InputFailure]",
) -> dict[str, object]:
    """Print the translation of each clip that has one, and return them and the failures by name.

    Args:
        names: Display names of the clips.
        results: Text or error of each clip.
        failures: Inputs that cannot be translated, to which clips with an error are appended.
    """
    from kinesweep.export.input_failure import FAILED_KEY, InputFailure

    texts: dict[str, object] = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, str):
            texts[name] = result
            # On stdout, unlike all other text: the translations are the result.
            typer.echo(f"{name}\t{result}")
        else:
            failures.append(InputFailure.from_error(name, result))
    if failures:
        texts[FAILED_KEY] = [failure.to_json() for failure in failures]
    return texts


def _print_failures(failures: "Sequence[InputFailure]", num_inputs: int) -> None:
    """Print the inputs that cannot be translated, each with the reason.

    Args:
        failures: Inputs that cannot be translated.
        num_inputs: Number of all inputs.
    """
    print_line(f"{len(failures)} of {num_inputs} inputs cannot be translated:")
    for failure in failures:
        print_line(f"  {failure.name}: {failure.reason}")


@dataclass(frozen=True)
class _BundleLoading:
    """How `translate` loads a bundle.

    Attributes:
        bundle_dir: Folder of the bundle, whose files have been checked.
        device: Name of the device of the model.
        accept_rate: Whether to accept files with another frame rate than the training data.
        options: Own prompts and sampling.
        estimator: File of an estimator of joints that may run.
    """

    bundle_dir: Path
    device: str
    accept_rate: bool
    options: InferenceOptions
    estimator: Path | None

    def load(self) -> "Bundle":
        """Load the bundle on its device, with the options applied."""
        from kinesweep.features.estimators.smpl.configured import read_estimator_file

        section = None if self.estimator is None else read_estimator_file(self.estimator)
        from kinesweep.export import Bundle  # imports PyTorch, which takes seconds
        from kinesweep.training.reproducibility.inference_device import prepare_inference

        device = prepare_inference(self.device)
        bundle = Bundle.load(self.bundle_dir, device, skip_file_check=True, estimator=section)
        return self.options.apply(replace(bundle, accept_rate=self.accept_rate))


def _translate_clips(
    loading: _BundleLoading,
    named_clips: Sequence[tuple[str, "Input"]],
    document: bool,
    reference: Path | None,
) -> list[str | KinesweepError]:
    """Translate clips with a bundle and return the text or the error of each.

    Args:
        loading: Folder, device and options of the bundle.
        named_clips: Clips to translate, with their display names.
        document: Whether the clips are consecutive clips of one document.
        reference: Reference motion for all clips; None: the clips keep theirs.
    """
    clips = [clip for _, clip in named_clips]
    loaded_bundle = loading.load()
    _check_options(loaded_bundle, clips, document, reference)
    if reference is not None:
        clips = [replace(clip, auxiliary_file=reference) for clip in clips]
    _print_missing_inputs(loaded_bundle, clips)
    with show_progress_bar("translate") as update:
        return loaded_bundle.translate_each(clips, update)


def _check_options(
    loaded_bundle: "Bundle", clips: Sequence["Input"], document: bool, reference: Path | None
) -> None:
    """Check that the model and the clips can be used with the options of `translate`.

    Args:
        loaded_bundle: Bundle that translates the clips.
        clips: Clips to translate.
        document: Whether the clips are consecutive clips of one document.
        reference: Reference motion for all clips; None: the clips keep theirs.

    Raises:
        InputError: If the model does not use an option that was given, or if a reference motion is
            given for clips of a TSV, which names its own.
    """
    if document and not loaded_bundle.uses_context:
        raise InputError("this model does not use context (see its recipe); omit `--document`")
    if reference is not None and not loaded_bundle.uses_reference_motion:
        raise InputError("this model does not use a reference motion; omit `--reference`")
    if reference is not None and any(clip.read_media is not None for clip in clips):
        raise InputError("a TSV has its own column `reference`; omit `--reference`")


def _print_missing_inputs(loaded_bundle: "Bundle", clips: Sequence["Input"]) -> None:
    """Print which clips lack the reference motion or the context that the model uses.

    Args:
        loaded_bundle: Bundle that translates the clips.
        clips: Clips to translate.
    """
    num_self_compared = sum(clip.is_compared_with_itself for clip in clips)
    if loaded_bundle.uses_reference_motion and num_self_compared:
        which_clips = "each" if num_self_compared == len(clips) else str(num_self_compared)
        print_line(
            f"{which_clips} of {len(clips)} clips is compared with itself, because no"
            " reference is given"
        )
        print_line("(by `--reference` or a TSV's column `reference`)")
    if loaded_bundle.uses_context and not any(clip.document for clip in clips):
        print_line("each file is translated without the context that the model was trained with;")
        print_line("pass `--document` if the files are consecutive clips of one document")


@wrap_command
def attention(
    model: AnyModelArgument,
    clip: Annotated[str, typer.Argument(help="File for `translate`; with `--store` a clip id.")],
    out: Annotated[Path, typer.Option(help="Output file (.html).", show_default=False)],
    store: Annotated[
        Path | None, typer.Option(help="Feature store that contains the clip, or its recipe.")
    ] = None,
    device: DeviceOption = AUTO_DEVICE,
    revision: RevisionOption = None,
    json_line: JsonOption = False,
) -> None:
    """Write a page that shows a model's attention in a clip, for each word over the frames.

    Example: kinesweep attention .kinesweep/exports/sample CLIP.pose --out /tmp/attention.html
    """
    from kinesweep.checkpoints.model_dir_files import check_model_folder
    from kinesweep.export.hub.download import find_bundle_dir
    from kinesweep.pipelines.inputs import resolve_model_dir

    if out.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"`--out` must end in `.html`, but `{out}` ends in `{out.suffix}`")
    if store is None and not Path(clip).exists():
        raise InputError(f"`{clip}` does not exist; if it is the id of a clip, pass its `--store`")
    model = find_bundle_dir(model, revision)
    check_model_folder(resolve_model_dir(model))
    from kinesweep.pipelines.attention_page import (
        write_attention_page,  # imports PyTorch, which takes seconds
    )

    print_json_result(write_attention_page(model, clip, out, store, device), json_line)
