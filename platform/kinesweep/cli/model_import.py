"""Import of models of other systems, with the settings that they were trained with.

`convert` hands them over once it knows that its input is neither a store nor a file of motions.
"""

from pathlib import Path
from typing import NamedTuple

from kinesweep.cli.console import print_json_result, print_line
from kinesweep.core.errors import InputError


class ModelImport(NamedTuple):
    """Folders and tokenizer of a trained model of MultimodalHugs that is imported.

    Attributes:
        source_dir: Folder of the trained model; None: only the settings are converted.
        output_dir: Folder to which the imported model is written; None: see above.
        tokenizer: Tokenizer folder or Hub id; None: the tokenizer in `source_dir`.
    """

    source_dir: Path | None
    output_dir: Path | None
    tokenizer: str | None


def convert_settings(
    settings_path: Path,
    modality: str | None,
    recipe_path: Path,
    model: ModelImport,
    json_line: bool,
) -> None:
    """Convert settings of MultimodalHugs to a recipe, and import the model trained with them.

    Prints which settings are left out and which behave differently.

    Args:
        settings_path: YAML file of the settings.
        modality: Task of settings that do not state it; None: find it out.
        recipe_path: File to which the recipe is written; an existing file is replaced.
        model: Model to import, if any.
        json_line: Whether the result is also printed as JSON.

    Raises:
        CheckpointError: If the model lacks files, or if its tensors do not match the recipe.
        ConfigError: If the settings cannot be read or do not give a valid recipe.
        InputError: If only one of the model folders is given, or if the settings or the model have
            a part without an equivalent.
    """
    if (model.source_dir is None) != (model.output_dir is None):
        raise InputError("`--model` and `--into` must be given together")
    from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
    from kinesweep.interop import convert_multimodalhugs_settings

    # Fails before anything is written if the settings have a part without an equivalent.
    conversion = convert_multimodalhugs_settings(settings_path, modality)
    for key, reason in conversion.unconverted.items():
        print_line(f"left out  {key}: {reason}")
    for note in conversion.notes:
        print_line(f"note      {note}")
    # The recipe is written before the model is imported, so it can be inspected if that fails.
    recipe_path.parent.mkdir(parents=True, exist_ok=True)
    recipe_path.write_text(format_recipe_yaml(conversion.recipe), encoding="utf-8")
    print_line(f"recipe    {recipe_path}")
    if model.source_dir is not None and model.output_dir is not None:
        from kinesweep.interop import import_multimodalhugs_model  # PyTorch: seconds

        imported_model = import_multimodalhugs_model(
            model.source_dir, conversion.recipe, model.output_dir, model.tokenizer
        )
        num_parameters = sum(parameter.numel() for parameter in imported_model.parameters())
        _print_imported_model(model.output_dir, num_parameters)
    print_json_result(
        {
            "recipe": str(recipe_path),
            "left": conversion.unconverted,
            "notes": conversion.notes,
        },
        json_line,
    )


def import_checkpoint(
    path: Path,
    recipe: Path,
    model: ModelImport,
    texts: Path | None,
    json_line: bool,
) -> None:
    """Import a checkpoint of SSVP-SLT or projectors of Sign_LLaVA as the model of a recipe.

    A causal backbone in the recipe means that the checkpoint contains projectors.

    Args:
        path: File of the checkpoint.
        recipe: File of the recipe.
        model: Folder to which the imported model is written, and its tokenizer; without one, the
            tokenizer that the recipe names.
        texts: File of training texts, from which a model of SSVP-SLT learns casing; None: none.
        json_line: Whether the result is also printed as JSON.

    Raises:
        ConfigError: If the recipe is invalid.
        InputError: If no output folder or a trained model is given, if texts are given for
            projectors, or if the recipe does not fit the checkpoint.
        CheckpointError: If the checkpoint cannot be read or does not match the recipe.
    """
    model_dir = model.output_dir
    if model_dir is None or model.source_dir is not None:
        raise InputError(f"`{path}` is a checkpoint; pass `--into FOLDER` and leave out `--model`")
    from kinesweep.config.loading import load_config
    from kinesweep.config.recipe import Recipe
    from kinesweep.interop import import_sign_llava_projectors, import_ssvp

    loaded_recipe = load_config(Recipe, recipe)
    lines = () if texts is None else texts.read_text(encoding="utf-8").splitlines()
    # Only the recipe tells the two kinds of checkpoints apart without loading gigabytes.
    if loaded_recipe.model.backbone.kind == "causal":
        if lines:
            raise InputError(
                "`--texts` applies to SSVP-SLT's models only; projectors do not generate text"
            )
        imported_model = import_sign_llava_projectors(
            path, loaded_recipe, model_dir, model.tokenizer
        )
    else:
        imported_model = import_ssvp(path, loaded_recipe, model_dir, model.tokenizer, lines)
    num_parameters = sum(parameter.numel() for parameter in imported_model.parameters())
    _print_imported_model(model_dir, num_parameters)
    print_json_result(
        {"model": str(model_dir), "recipe": str(recipe), "parameters": num_parameters}, json_line
    )


def _print_imported_model(model_dir: Path, num_parameters: int) -> None:
    """Print the folder of an imported model and its number of parameters."""
    print_line(f"model     {model_dir} ({num_parameters:,} parameters; every tensor was matched)")
