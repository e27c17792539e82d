"""The section `generation`: keys without an effect are refused, and unset ones change no hash."""

from typing import Any

import pytest
from pydantic import ValidationError

from kinesweep.config.recipe.generation import GenerationConfig, check_training_beams


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"temperature": 0.5}, "`temperature` has no effect without `do_sample: true`"),
        ({"seed": 0}, "`seed` has no effect"),
        ({"do_sample": True}, "`do_sample` needs `num_beams: 1`, not 5"),
        ({"min_new_tokens": 100}, r"`min_new_tokens` \(100\) must be below"),
        ({"top_p": 1.5}, "less than or equal to 1"),
        ({"num_beams": 1, "do_sample": True, "temperature": 1e-39}, "equal to 0.001"),
        ({"num_beams": 1, "do_sample": True, "temperature": float("inf")}, "finite number"),
        ({"repetition_penalty": float("inf")}, "finite number"),
        ({"top_k": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        GenerationConfig.model_validate(values)


def test_unset_keys_are_left_out() -> None:
    bare = {"num_beams": 5, "max_new_tokens": 100, "length_penalty": 1.0, "truecase": False}
    assert GenerationConfig().get_set_values() == bare
    drawn = GenerationConfig(num_beams=1, do_sample=True, top_p=0.9)
    assert drawn.get_set_values() == {**bare, "num_beams": 1, "do_sample": True, "top_p": 0.9}
    assert drawn.with_changes(seed=3).seed == 3


def test_evaluations_during_training_draw_one_text() -> None:
    drawn = GenerationConfig(num_beams=1, do_sample=True)
    check_training_beams(drawn, 1)
    check_training_beams(GenerationConfig(), 4)
    with pytest.raises(ValueError, match=r"during_training\.num_beams: 1`, not 4"):
        check_training_beams(drawn, 4)
