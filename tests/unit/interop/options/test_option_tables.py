"""The tables of options: complete, without empty cells, and naming only what exists."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest
import typer

import kinesweep as ks
from kinesweep.cli import app
from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.export import Bundle
from kinesweep.interop.options.option_table import (
    STATUSES,
    SYSTEMS,
    Option,
    format_option_tables,
    read_options,
)
from schema_search import SCHEMAS, find_key, is_allowed
from source_options import SOURCE_OPTIONS

ROOT = Path(__file__).parents[4]
SECTIONS = {name for model in SCHEMAS for name in model.model_fields}
LEAST_NUMBERS = {"multimodalhugs": 450, "ssvp_slt": 250, "signllava": 220, "coachme": 210}
# Beginning of a group → kinds of recipes that its keys belong to; others are ordinary recipes.
RECIPES_OF_GROUPS: dict[str, tuple[type, ...]] = {
    "pretraining and feature extraction": (PretrainingRecipe, Recipe),
    "pretraining": (PretrainingRecipe,),
    "all programs": (Recipe, PretrainingRecipe),
}
COMMANDS: dict[str, click.Command] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def find_schemas(option: Option) -> list[dict[str, Any]]:
    for beginning, models in RECIPES_OF_GROUPS.items():
        if option.group.startswith(beginning):
            return [SCHEMAS[model] for model in models]
    return [SCHEMAS[Recipe]]


def exists(text: str, option: Option) -> bool:
    """Whether a key, command, option, file, name of the API or environment variable exists."""
    if text.startswith("kinesweep "):
        name, *options = text.removeprefix("kinesweep ").split()
        if name not in COMMANDS:
            return False
        known = {one for param in COMMANDS[name].params for one in param.opts}
        return {one for one in options if one.startswith("--")} <= known
    if text.startswith("--"):
        return any(text in param.opts for one in COMMANDS.values() for param in one.params)
    if re.match(r"(jobs|search_spaces|docs)/", text):
        return any(ROOT.glob(text))
    owner, _, attribute = text.partition(".")
    if owner in ("Bundle", "ks"):
        return hasattr({"Bundle": Bundle, "ks": ks}[owner], attribute)
    if re.fullmatch(r"[A-Z_]+", text):
        folders = (ROOT / "platform", ROOT / "docs")
        files = (file for folder in folders for file in folder.rglob("*.[pm][yd]"))
        return any(text in file.read_text(encoding="utf-8") for file in files)
    key, has_value, value = text.partition(": ")
    return any(
        is_allowed(schema, key, value) if has_value else bool(find_key(schema, key))
        for schema in find_schemas(option)
    )


def list_names(option: Option) -> list[str]:
    """List what an option's cells name as Kinesweep's own."""
    names = re.findall(r"`([^`]+)`", option.here)
    for text in re.findall(r"`([^`]+)`", option.reason):
        is_key = re.fullmatch(r"[a-z_]+(\.[a-z_]+)+(: \w+)?", text)
        is_ours = re.match(r"(kinesweep [a-z-]+( --[a-z-]+)*$)|jobs/|search_spaces/|docs/", text)
        if is_ours or (is_key and text.partition(".")[0] in SECTIONS):
            names.append(text)
    return names


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_cell_is_empty(system: str) -> None:
    options = read_options(system)
    assert len(options) >= LEAST_NUMBERS[system]
    for option in options:
        cells = (option.group, option.name, option.status, option.here, option.reason)
        assert all(cell.strip() for cell in cells), option
        assert option.status in STATUSES, option
        # What is refused or not needed may have no place; everything else has one.
        assert option.here != "–" or option.status in ("refused", "not needed"), option
        assert option.here == "–" or re.fullmatch(r"`[^`]+`(, `[^`]+`)*", option.here), option
    counts = Counter((option.group, option.name) for option in options)
    assert max(counts.values()) == 1, counts.most_common(1)


@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_that_is_named_exists(system: str) -> None:
    options = read_options(system)
    missing = {
        name for option in options for name in list_names(option) if not exists(name, option)
    }
    assert missing == set()


def test_names_that_do_not_exist_are_found() -> None:
    option = Option("translation: `model`", "beams", "other name", "–", "same meaning")
    names = ["training.num_epochs", "training.precision: fp8", "kinesweep score", "ks.load_all"]
    names += ["kinesweep train --beams", "--beams", "jobs/recipes/ssvp_t6.yaml", "KINESWEEP_NONE"]
    names += ["objective.mask_ratio", "Bundle.transcribe", "model.freeze: vision", "name: null"]
    assert [name for name in names if exists(name, option)] == []
    pretraining = Option("pretraining: `model`", "ratio", "other name", "–", "same meaning")
    assert exists("objective.mask_ratio", pretraining)
    assert not exists("generation.num_beams", pretraining)
    assert find_key(SCHEMAS[EmbeddingRecipe], "embedding.width")


@pytest.mark.parametrize("system", SYSTEMS)
def test_options_with_the_same_name_have_it(system: str) -> None:
    for option in read_options(system):
        if option.status == "same":
            places = re.findall(r"`([^`]+)`", option.here)
            ends = {re.split(r"\.|: ", place)[-1] for place in places}
            assert re.split(r"\.| |--", option.name)[-1] in ends, option


@pytest.mark.parametrize(("system", "group"), SOURCE_OPTIONS)
def test_every_option_of_the_sources_is_listed(system: str, group: str) -> None:
    listed = {option.name for option in read_options(system) if option.group.startswith(group)}
    # A value, or a stream or task that its options are repeated for, may be part of the name.
    listed |= {re.split(r": | \(", name)[0] for name in listed}
    assert set(SOURCE_OPTIONS[system, group].split()) - listed == set()


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_page_shows_the_table(system: str) -> None:
    text = (ROOT / "docs" / f"{system}.md").read_text(encoding="utf-8")
    # If not: put `format_option_tables(read_options(system))` below "## Options" in the page.
    assert format_option_tables(read_options(system)) in text
    section = text.partition("\n## Options\n")[2]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(read_options(system))
    assert all(len(row.strip("| ").split(" | ")) == 4 for row in rows)
