"""The verb that takes over what other systems left: settings, and models trained with them."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.output import JsonOption, emit, say, verb
from kinesweep.core.errors import InputError


@verb
def convert(
    settings: Annotated[Path, typer.Argument(help="A MultimodalHugs YAML.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The recipe, YAML.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="Import this model folder, trained with the settings.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Its tokenizer's folder; default: the model's.")
    ] = None,
    into: Annotated[Path | None, typer.Option(help="Folder for the imported model.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Turn another system's settings into a recipe, and a model trained with them into ours.

    Says what could not be carried over, and what behaves differently here.

    Example: kinesweep convert jobs/foreign/multimodalhugs.yaml /tmp/converted.yml --overwrite
    """
    from kinesweep.foreign import convert_settings, import_model
    from kinesweep.training.model_folder import recipe_text

    if (model is None) != (into is None):
        raise InputError("`--model` and `--into` belong together")
    for path in (out, into):
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"`{path}` is there already; give another place, or `--overwrite`")
    converted = convert_settings(settings)
    for key, why in converted.left.items():
        say(f"left out  {key}: {why}")
    for note in converted.notes:
        say(f"mind      {note}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(recipe_text(converted.recipe), encoding="utf-8")
    say(f"recipe    {out}")
    if model is not None and into is not None:
        imported = import_model(model, converted.recipe, into, tokenizer)
        count = sum(parameter.numel() for parameter in imported.parameters())
        say(f"model     {into} ({count:,} parameters, every tensor accounted for)")
    emit({"recipe": str(out), "left": converted.left, "notes": converted.notes}, json_line)
