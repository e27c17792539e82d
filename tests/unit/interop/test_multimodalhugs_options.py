"""Reasons why keys of MultimodalHugs are not converted."""

from dataclasses import fields

import pytest
from transformers import Seq2SeqTrainingArguments

from kinesweep.interop.multimodalhugs_options import explain_unsupported_key
from kinesweep.interop.options.option_table import read_options


def test_every_argument_of_the_trainer_is_listed() -> None:
    options = read_options("multimodalhugs")
    listed = {option.name for option in options if option.group.startswith("training")}
    assert {field.name for field in fields(Seq2SeqTrainingArguments)} <= listed


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
