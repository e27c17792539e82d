"""A translator with a vision model: attention pages, memory, saving, mixed streams."""

from pathlib import Path
from typing import Any

import pytest
import torch

from frames import SCRATCH, SIZE
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator, check_backbone_config
from kinesweep.models.attention_maps import compute_attention_maps
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.training.loop.memory_estimate import estimate_batch_memory

WIDTH = 3 * SIZE * SIZE
WIDTHS = {"video": WIDTH, "pose": 5}
VISION = {"scratch": {**SCRATCH, "model_type": "videomae", "num_frames": 8}}
del VISION["scratch"]["mlp_ratio"]
M2M = {
    "architecture": "m2m_100",
    "d_model": 16,
    **{f"{part}_layers": 1 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
}


def make_config(**vision: Any) -> ModelConfig:
    own = {"kind": "linear", "standardize": False, "downsample": 2}
    return ModelConfig.model_validate(
        {
            "encoders": {"video": own},
            "backbone": {"scratch": M2M},
            "vision": {**VISION, "windows": {"num_frames": 8}, **vision},
        }
    )


def make_model(words: Vocabulary, **vision: Any) -> Translator:
    seed_everything(1)
    config = make_config(**vision)
    return build_translator(config, WIDTHS, words, frame_sizes={"video": SIZE}).eval()


@pytest.fixture
def clips(batch: Batch) -> Batch:
    """The batch of four clips, with frames of up to 11 in place of one stream."""
    frames = torch.randint(0, 256, (4, 11, WIDTH), dtype=torch.uint8)
    mask = torch.arange(11) < torch.tensor([11, 4, 8, 1])[:, None]
    streams = {"video": frames, "pose": batch.streams["pose"]}
    masks = {"video": mask, "pose": batch.frame_masks["pose"]}
    return Batch(**{**vars(batch), "streams": streams, "frame_masks": masks})


def test_attention_is_traced_back_to_frames(words: Vocabulary, clips: Batch) -> None:
    """Two frames a time step of VideoMAE, two time steps a vector of the encoder."""
    maps = compute_attention_maps(make_model(words), clips)
    spans = {span.stream: span for span in maps[0].spans if span.kind == "stream"}
    assert spans["video"].source_spans == (SourceSpan(0, 4), SourceSpan(4, 8), SourceSpan(8, 11))
    assert len(spans["pose"].source_spans) == 7


def test_it_is_saved_whole_and_loaded_strictly(
    words: Vocabulary, clips: Batch, tmp_path: Path
) -> None:
    model = make_model(words, freeze=True)
    model.save_pretrained(tmp_path)
    loaded = Translator.from_pretrained(tmp_path)
    inputs = clips.get_generate_kwargs()
    assert torch.equal(
        model.build_inputs_embeds(**inputs)[0], loaded.build_inputs_embeds(**inputs)[0]
    )
    weights = model.state_dict()
    lost = next(name for name in weights if name.startswith("vision.network.model."))
    del weights[lost]
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(CheckpointError, match=f"missing `{lost}`"):
        Translator.from_pretrained(tmp_path)


def test_every_stream_of_frames_has_one_size_and_a_model(words: Vocabulary) -> None:
    for sizes, said in (({}, "no stream of the store holds"), ({"video": 16, "pose": 8}, "differ")):
        with pytest.raises(ConfigError, match=said):
            build_translator(make_config(), WIDTHS, words, frame_sizes=sizes)
    plain = ModelConfig.model_validate({"backbone": {"scratch": M2M}})
    with pytest.raises(ConfigError, match="only a vision model reads the decoded frames"):
        build_translator(plain, WIDTHS, words, frame_sizes={"video": SIZE})
    with pytest.raises(ConfigError, match="unknown to `videomae`"):
        check_backbone_config(make_config(scratch={**VISION["scratch"], "depth": 3}))


def test_memory_counts_what_the_vision_model_keeps(words: Vocabulary) -> None:
    streams = {
        "video": StreamSchema(WIDTH, 25.0, "uint8", frame_size=SIZE),
        "pose": StreamSchema(5, 25.0, "float32"),
    }

    def estimate(is_training: bool = True, **vision: Any) -> Any:
        model = make_model(words, **vision)
        lengths = {"video": 40, "pose": 40}
        schema = StoreSchema(streams)
        return estimate_batch_memory(model, 3, lengths, schema, is_training=is_training)

    # 4 patches every 2 frames, 16 values each, 8 of them in 1 layer, 4 bytes, 3 clips.
    assert estimate().vision == 3 * 40 // 2 * 4 * 16 * 8 * 4
    assert estimate(freeze=True).vision == estimate(gradient_checkpointing=True).vision == 0
    assert estimate(is_training=False).vision == 0
    assert estimate().features == 3 * 40 * (WIDTH + 5 * 4)
