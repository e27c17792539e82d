"""The command `embed`, which writes the vectors that a model makes of clips.

Arguments are checked before PyTorch is imported, which takes seconds; hence the late imports.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
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
from kinesweep.cli.model_argument import BundleArgument
from kinesweep.core.errors import InputError
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.pipelines.progress import show_progress_bar


@wrap_command
def embed(  # noqa: PLR0913 (a command has one argument per option)
    bundle: BundleArgument,
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Files, folders or tables as for `translate`.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Output folder for `000000.npz` and so on, one file for each clip, and"
            " `index.json` with names and texts.",
            show_default=False,
        ),
    ],
    prompt: PromptOption = None,
    question: QuestionOption = None,
    system: SystemOption = None,
    sample: SampleOption = False,
    seed: SeedOption = None,
    temperature: TemperatureOption = None,
    accept_rate: AcceptRateOption = False,
    device: DeviceOption = AUTO_DEVICE,
    revision: RevisionOption = None,
    json_line: JsonOption = False,
) -> None:
    """Write the vectors of clips: what enters the language model, and its last hidden states.

    Example: kinesweep embed .kinesweep/exports/sample CLIP.pose --out /tmp/vectors
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise InputError(f"`{out}` exists and is not an empty folder; choose another `--out`")
    from kinesweep.export import Bundle, find_inputs
    from kinesweep.export.hub.download import find_bundle_recipe
    from kinesweep.export.part_inputs import list_raw_parts

    bundle_dir, recipe = find_bundle_recipe(bundle, revision)
    options = InferenceOptions(prompt, question, system, sample, seed, temperature)
    options.check(recipe.generation)
    named_clips = find_inputs(inputs, recipe.corpora[0], parts=list_raw_parts(recipe))
    # Imported after the inputs are found: PyTorch takes seconds.
    from kinesweep.export.inference.embedding import write_embeddings
    from kinesweep.training.reproducibility.inference_device import prepare_inference

    loaded = Bundle.load(bundle_dir, prepare_inference(device), skip_file_check=True)
    loaded = options.apply(replace(loaded, accept_rate=accept_rate))
    with show_progress_bar("embed") as update:
        clips = loaded.embed([clip for _, clip in named_clips], update)
    write_embeddings(out, [name for name, _ in named_clips], clips)
    print_line(f"vectors  {out} ({len(clips)} clips)")
    print_json_result({"vectors": str(out), "clips": len(clips)}, json_line)
