"""Graph encoders and the skeletons of streams: found, refused, saved."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.graph import StgcnEncoderConfig
from kinesweep.core.errors import ConfigError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.encoders import build_encoder
from kinesweep.models.streams import find_skeletons
from trees import BODY_AND_HANDS, made

Recipe = Callable[..., ModelConfig]
SMALL = {"kind": "stgcn", "channels": 2, "blocks": 1}


def with_encoders(recipe: Recipe, **encoders: object) -> ModelConfig:
    plain = recipe().model_dump(mode="json")
    return ModelConfig.model_validate({**plain, **encoders})


def schema(**streams: StreamSchema) -> StoreSchema:
    return StoreSchema(streams)


BODY = StreamSchema(66, None, "float32", SMPL_22.layout)
FRAMES = StreamSchema(12, None, "float32")


def test_only_streams_of_graph_encoders_need_a_skeleton(recipe: Recipe) -> None:
    both = schema(pose=BODY, dino=FRAMES)
    assert find_skeletons(with_encoders(recipe), both) == {}
    some = with_encoders(recipe, encoders={"pose": SMALL})
    assert find_skeletons(some, both) == {"pose": SMPL_22}
    with pytest.raises(ConfigError) as caught:
        find_skeletons(with_encoders(recipe, encoder=SMALL), both)
    said = str(caught.value)
    assert "model.encoder.kind" in said and "stream `dino` (12 values per frame)" in said
    assert "has no named points" in said and "`pose`" not in said


def test_a_width_that_does_not_fit_is_refused(recipe: Recipe) -> None:
    odd = schema(pose=StreamSchema(67, None, "float32", SMPL_22.layout), dino=FRAMES)
    config = with_encoders(recipe, encoders={"pose": SMALL, "dino": SMALL})
    with pytest.raises(ConfigError) as caught:
        find_skeletons(config, odd)
    said = str(caught.value)
    assert "model.encoders.pose.kind" in said and "model.encoders.dino.kind" in said
    assert "the 22 points of `smpl_22`, but stream `pose` has 67 values" in said
    with pytest.raises(ConfigError, match="7 points of `made`, but the stream has 15"):
        build_encoder(StgcnEncoderConfig(), 15, 4, BODY_AND_HANDS)
    with pytest.raises(ConfigError, match=r"model\.encoder\.kind"):
        build_encoder(StgcnEncoderConfig(), 66, 4)


def test_a_model_without_skeletons_is_refused(recipe: Recipe, words: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="stream `pose`"):
        build_translator(with_encoders(recipe, encoder=SMALL), {"pose": 66}, words)


def test_a_saved_model_has_its_skeletons(recipe: Recipe, words: Vocabulary, tmp_path: Path) -> None:
    config = with_encoders(recipe, encoders={"hand": {**SMALL, "kind": "stgcn"}})
    skeletons = {"hand": BODY_AND_HANDS, "pose": made((-1,))}
    model = build_translator(config, {"pose": 5, "hand": 14}, words, skeletons=skeletons)
    model.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path)
    assert again.config.get_skeleton("hand") == BODY_AND_HANDS
    assert again.config.get_skeleton("pose") is None, "its encoder does not ask"
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_weights_begin_as_the_encoder_draws_them(recipe: Recipe, words: Vocabulary) -> None:
    """Hugging Face would draw them again, and sides would differ from the start."""
    config = with_encoders(recipe, encoder={"kind": "stagcn", "features": [2], "head": 3})
    model = build_translator(config, {"pose": 14}, words, skeletons={"pose": BODY_AND_HANDS})
    weight_KVC = model.encoders["pose"].network.head.to_graphs.weight.unflatten(0, (4, 7))
    assert torch.equal(weight_KVC, weight_KVC[:, list(BODY_AND_HANDS.mirror)])
    assert not torch.equal(weight_KVC[:, 1], weight_KVC[:, 3])
