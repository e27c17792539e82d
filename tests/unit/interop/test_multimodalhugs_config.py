"""Settings of MultimodalHugs become recipes; what has no place is listed with its reason."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from kinesweep.config.recipe.model.encoders import CnnEncoderConfig, LinearEncoderConfig
from kinesweep.core.errors import ConfigError
from kinesweep.interop import ConvertedMultimodalHugsSettings, convert_multimodalhugs_settings

ROOT = Path(__file__).resolve().parents[3]

NOW: dict[str, Any] = {
    "model": {
        "type": "multimodal_embedder",
        "multimodal_mapper_type": "linear",
        "multimodal_mapper_layer_norm_before": True,
        "multimodal_mapper_dropout": 0.1,
        "backbone_type": "m2m_100",
        "pretrained_backbone": "facebook/m2m100_418M",
        "feat_dim": 534,
    },
    "training": {
        "run_name": "phoenix",
        "early_stopping_patience": 10,
        "eval_strategy": "steps",
        "eval_steps": 128,
        "save_steps": 128,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 3,
        "learning_rate": 5e-5,
        "dataloader_num_workers": 4,
        "metric_name": "sacrebleu, chrf",
        "metric_for_best_model": "sacrebleu",
        "adam_beta2": 0.998,
        "max_grad_norm": 0.0,
        "max_steps": 500000,
        "lr_scheduler_type": "inverse_sqrt",
        "warmup_steps": 8000,
        "save_total_limit": 10,
        "seed": 3435,
        "fp16": True,
        "push_to_hub": True,
        "deepspeed": "zero3.json",
    },
    "data": {
        "train_metadata_file": "train.tsv",
        "validation_metadata_file": "validation.tsv",
        "test_metadata_file": "test.tsv",
        "shuffle": True,
        "max_frames": 300,
    },
    "processor": {
        "reduce_holistic_poses": True,
        "text_tokenizer_path": "facebook/m2m100_418M",
        "new_vocabulary": "__dgs__,__de__",
    },
}


def convert(tmp_path: Path, plain: dict[str, Any]) -> ConvertedMultimodalHugsSettings:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    return convert_multimodalhugs_settings(path)


def changed(**parts: dict[str, Any]) -> dict[str, Any]:
    return {**NOW, **{name: {**NOW[name], **values} for name, values in parts.items()}}


def test_the_published_phoenix_settings(tmp_path: Path) -> None:
    found = convert(tmp_path, NOW)
    recipe = found.recipe
    assert recipe.name == "phoenix"
    assert recipe.source.splits == {s: f"{s}.tsv" for s in ("train", "validation", "test")}
    assert (recipe.features.points, recipe.features.stride) == ("holistic_178", 1)
    assert (recipe.batch.batch_size, recipe.batch.max_clip_frames) == (8, 300)
    assert recipe.batch.loader_workers == 4
    assert recipe.model.encoder == LinearEncoderConfig(
        standardize=False, norm_in=True, dropout=0.1, norm_out=False, activation="none"
    )
    assert recipe.model.backbone.pretrained == "facebook/m2m100_418M"
    assert recipe.model.tokenizer.new_tokens == ("__dgs__", "__de__")
    training = recipe.training
    assert (training.learning_rate, training.warmup_steps, training.seed) == (5e-5, 8000, 3435)
    assert (training.adam_beta2, training.max_grad_norm, training.max_steps) == (0.998, 0, 500000)
    assert (training.precision, training.metric_for_best_model) == ("fp16", "bleu")
    assert (training.gradient_accumulation_steps, training.early_stopping_patience) == (3, 10)
    assert recipe.evaluation.metrics == ("bleu", "chrf")


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    left = convert(tmp_path, {**NOW, "wandb": {"key": 1}}).unconverted
    assert set(left) == {
        *("model.type", "model.feat_dim", "training.save_steps"),
        *("training.save_total_limit", "training.push_to_hub", "data.shuffle", "wandb"),
        *("training.deepspeed", "model.backbone_type"),
    }
    assert "follows from the corpus" in left["model.feat_dim"] and "534" in left["model.feat_dim"]
    assert "nothing is uploaded" in left["training.push_to_hub"]
    assert "an unknown key" in left["wandb"]
    assert "FSDP shards a model over workers (`training.fsdp`)" in left["training.deepspeed"]


def test_the_oldest_names(tmp_path: Path) -> None:
    old = {
        "model": {
            "vl_mapper_type": "linear",
            "vl_mapper_layer_norm_before": True,
            "vl_mapper_layer_norm": True,
            "vl_mapper_activation": True,
            "vl_mapper_dropout": 0.2,
            "backbone_name": "m2m_100",
            "pretrained_backbone": "m2m",
            "init_lang_abbr": "avg",
        },
        "common": {"wandb_name": "x"},
        "training": {"evaluation_strategy": "steps", "learning_rate": 2.0},
        "data": {
            "train_metadata_dir": "a.tsv",
            "tokenizer_src_langs_path": "__asl__",
            "text_tokenizer_path": "m2m",
        },
    }
    found = convert(tmp_path, old)
    assert found.recipe.source.train == "a.tsv"
    assert found.recipe.model.encoder == LinearEncoderConfig(
        standardize=False, dropout=0.2, norm_in=True, norm_out=True, activation="relu"
    )
    assert found.recipe.model.tokenizer.new_tokens == ("__asl__",)
    assert set(found.unconverted) == {
        *("model.init_lang_abbr", "common.wandb_name", "model.backbone_type"),
    }


@pytest.mark.parametrize(
    "processor",
    [
        {
            "pipeline": "pose2text",
            "tokenizer_path": "facebook/m2m100_418M",
            "new_vocabulary": "__asl__",
            "modality_kwargs": {"reduce_holistic_poses": False, "skip_frames_stride": 2},
        },
        {
            "pipeline": "pose2text",
            "tokenizer_path": "facebook/m2m100_418M",
            "new_vocabulary": "__asl__",
            "slot_overrides": {
                "input_frames": {
                    "processor_kwargs": {"reduce_holistic_poses": False, "skip_frames_stride": 2}
                }
            },
        },
        {
            "slots": [
                {
                    "processor_class": "PoseModalityProcessor",
                    "processor_kwargs": {"reduce_holistic_poses": False, "skip_frames_stride": 2},
                    "column_map": {"signal": "signal"},
                },
                {
                    "processor_class": "TextModalityProcessor",
                    "processor_kwargs": {
                        "tokenizer_path": "facebook/m2m100_418M",
                        "new_vocabulary": "__asl__",
                        "role": "target",
                    },
                },
            ]
        },
    ],
)
def test_three_ways_to_write_a_processor(tmp_path: Path, processor: dict[str, Any]) -> None:
    found = convert(tmp_path, {**NOW, "processor": processor})
    assert (found.recipe.features.points, found.recipe.features.stride) == ("all", 2)
    assert found.recipe.model.tokenizer.new_tokens == ("__asl__",)
    assert not [key for key in found.unconverted if key.startswith("processor")]


def test_renamed_columns(tmp_path: Path) -> None:
    """An input may have any column; texts may not."""
    slots = [
        {"processor_class": "PoseModalityProcessor", "column_map": {"my_pose": "signal"}},
        {
            "processor_class": "TextModalityProcessor",
            "processor_kwargs": {"role": "target"},
            "output_data_key": "labels",
            "column_map": {"my_text": "target"},
        },
    ]
    found = convert(tmp_path, {**NOW, "processor": {"slots": slots}})
    assert found.recipe.source.column == "my_pose"
    assert "my_text" in found.unconverted["processor.labels.column_map"]


def test_other_mappers_frozen_parts_and_scratch(tmp_path: Path) -> None:
    model = {
        "multimodal_mapper_type": "cnn_adapter",
        "adapter_ksize": [5, 3],
        "adapter_stride": [2, 1],
        "pretrained_backbone": None,
        "backbone_type": "bart",
        "backbone_config": {"d_model": 32, "encoder_layers": 1},
        "freeze_encoder_embed_tokens": True,
        "freeze_lm_head": True,
    }
    found = convert(tmp_path, changed(model=model))
    encoder = found.recipe.model.encoder
    assert isinstance(encoder, CnnEncoderConfig)
    assert (encoder.kernels, encoder.strides) == ((5, 3), (2, 1))
    assert found.recipe.model.backbone.scratch == {
        **{"architecture": "bart", "d_model": 32, "encoder_layers": 1},
    }
    assert found.recipe.model.tokenizer.kind == "train"
    assert found.recipe.model.freeze == ("embeddings", "lm_head")
    assert any("trained on the corpus's texts" in note for note in found.notes)


def test_an_adapter_is_one_here(tmp_path: Path) -> None:
    found = convert(tmp_path, changed(model={"multimodal_mapper_type": "adapter"}))
    assert found.recipe.model.encoder.kind == "adapter"
    assert any("had no weights" in note for note in found.notes)


def test_impossible_values_are_named_in_the_recipes_words(tmp_path: Path) -> None:
    wrong = changed(training={"learning_rate": -1, "lr_scheduler_type": "bumpy"})
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, wrong)
    assert "training.learning_rate" in str(caught.value)
    assert "training.lr_scheduler_type" in str(caught.value)


def test_the_example_converts() -> None:
    found = convert_multimodalhugs_settings(ROOT / "jobs/interop/multimodalhugs.yaml")
    assert found.recipe.model.backbone.scratch is not None
    assert found.recipe.training.max_steps == 400
