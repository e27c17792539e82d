"""The file `sweep.json` in a sweep's folder, which stores the metadata of the sweep.

With `result.json`, the journal and the run folders it is all that a report needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.config.any_recipe import AnyRecipe, get_recipe_class
from kinesweep.config.loading import validate_config
from kinesweep.config.parts import identify_parts
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.io import read_json, write_json
from kinesweep.core.provenance import collect_provenance
from kinesweep.sweeps.space.space import SearchSpace

METADATA = "sweep.json"
"""Name of the file with the metadata of a sweep."""


@dataclass(frozen=True)
class SweepMetadata:
    """The metadata of a sweep, stored in `sweep.json`.

    Attributes:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        store_dir: Folder of the feature store of the unmodified recipe.
        made_with: Provenance: version, commit, packages and machine.
    """

    space: SearchSpace
    recipe: AnyRecipe
    store_dir: Path
    made_with: Mapping[str, str] = field(default_factory=collect_provenance)


def write_sweep_metadata(folder: Path, metadata: SweepMetadata) -> None:
    """Write the metadata of a sweep to `sweep.json` atomically."""
    fields = {
        "space": metadata.space.model_dump(mode="json", by_alias=True),
        "recipe": metadata.recipe.model_dump(mode="json", by_alias=True),
        "store": str(metadata.store_dir),
        # Parts of other packages, among them the sampler, which belongs to no run.
        "made_with": {
            **metadata.made_with,
            **identify_parts(metadata.space, metadata.recipe),
        },
    }
    write_json(folder / METADATA, fields)


def read_sweep_metadata(folder: Path) -> SweepMetadata:
    """Read the metadata of a sweep from `sweep.json`.

    Raises:
        CheckpointError: If the folder holds no `sweep.json`, or one that this installation cannot
            read: it was written by another version, or the package of a part is missing.
    """
    path = folder / METADATA
    fields = read_sweep_json(path)
    try:
        space = validate_config(SearchSpace, fields["space"], f"`space` of {path}")
        recipe_class: type[AnyRecipe] = get_recipe_class(fields["recipe"])
        recipe = validate_config(recipe_class, fields["recipe"], f"`recipe` of {path}")
        return SweepMetadata(space, recipe, Path(fields["store"]), fields["made_with"])
    # Not a ConfigError: nobody edits this file, so the sweep is what cannot be used.
    except (ConfigError, ValueError, TypeError, KeyError) as error:
        reason = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(
            f"this installation cannot read the sweep in `{folder}`: {reason}"
        ) from None


def read_sweep_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in `sweep.json` or `result.json` in a sweep's folder.

    Args:
        path: Path of the file.

    Raises:
        CheckpointError: If there is no such file; the message explains that the folder holds no
            sweep or no finished one.
    """
    if not path.is_file():
        raise CheckpointError(
            f"`{path.parent}` has no {path.name}: it is not a sweep folder, or the sweep has not"
            " finished yet; run `kinesweep status` to see its progress"
        )
    return dict(read_json(path))
