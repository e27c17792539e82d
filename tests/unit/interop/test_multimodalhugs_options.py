"""The table of all options: complete, without empty cells, and naming keys that exist."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from transformers import Seq2SeqTrainingArguments

from kinesweep.cli import app
from kinesweep.config.recipe import Recipe
from kinesweep.interop.multimodalhugs_options import (
    STATUSES,
    explain_unsupported_key,
    format_option_tables,
    read_options,
)

PAGE = Path(__file__).parents[3] / "docs" / "multimodalhugs.md"
SECTIONS = set(Recipe.model_fields)


def has_key(schema: dict[str, Any], path: list[str], definitions: dict[str, Any]) -> bool:
    """Whether a dotted key exists in a JSON schema, in any alternative of its sections."""
    if "$ref" in schema:
        return has_key(definitions[schema["$ref"].rpartition("/")[2]], path, definitions)
    if not path:
        return True
    options = [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]
    if "items" in schema:
        options.append(schema["items"])
    if schema.get("additionalProperties") is True:
        return True
    if isinstance(schema.get("additionalProperties"), dict):
        options.append({"properties": {path[0]: schema["additionalProperties"]}})
    found = schema.get("properties", {}).get(path[0])
    if found is not None and has_key(found, path[1:], definitions):
        return True
    return any(has_key(option, path, definitions) for option in options)


def test_no_cell_is_empty() -> None:
    options = read_options()
    assert len(options) > 400
    for option in options:
        cells = (option.group, option.name, option.status, option.here, option.reason)
        assert all(cell.strip() for cell in cells), option
        assert option.status in STATUSES, option
        # What is refused or not needed may have no place; everything else has one.
        assert option.here != "–" or option.status in ("refused", "not needed"), option
    keys = [(option.group, option.name) for option in options]
    assert len(set(keys)) == len(keys)


def test_keys_named_as_ours_exist() -> None:
    schema = Recipe.model_json_schema()
    definitions = schema["$defs"]
    named = {
        key
        for option in read_options()
        for cell in (option.here, option.reason)
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)`", cell)
        if key.partition(".")[0] in SECTIONS and (cell is option.here or "." in key)
    }
    assert {"training.num_train_epochs", "batch.drop_last", "model.encoder.kernels"} <= named
    missing = {key for key in named if not has_key(schema, key.split("."), definitions)}
    assert missing == set()
    assert not has_key(schema, ["training", "num_epochs"], definitions)


def test_commands_named_as_ours_exist() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    named = {
        name
        for option in read_options()
        for name in re.findall(r"`kinesweep ([a-z-]+)", option.here)
    }
    assert named <= {name.replace("_", "-") for name in known} and "convert" in named


def test_every_argument_of_the_trainer_is_listed() -> None:
    listed = {option.name for option in read_options() if option.group.startswith("training")}
    assert {field.name for field in fields(Seq2SeqTrainingArguments)} <= listed


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert format_option_tables(read_options()) in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(read_options())
    assert all(len(row.strip("| ").split(" | ")) == 4 for row in rows)


@pytest.mark.parametrize(
    ("key", "class_name", "reason"),
    [
        ("processor.use_cache", "FeaturesModalityProcessor", "memory-mapped"),
        ("processor.use_cache", "VideoModalityProcessor", "decoded frames"),
        ("training.deepspeed", "", "FSDP"),
        ("model.made_up", "", "an unknown key"),
    ],
)
def test_reasons_fit_the_place_of_a_key(key: str, class_name: str, reason: str) -> None:
    assert reason in explain_unsupported_key(key, class_name)


def test_an_option_with_an_equivalent_is_left_over_where_nothing_uses_it() -> None:
    reason = explain_unsupported_key("model.multimodal_mapper_dropout")
    assert reason == "which these inputs do not use (`model.encoder.dropout`)"
