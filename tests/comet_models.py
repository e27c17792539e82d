"""A script that makes tiny COMET models, with the scores that the package itself gives them.

It runs in the environment of the package. Argument: folder that receives `regression` (with
references), `referenceless` and `expected.json`.
"""

import json
import sys
from pathlib import Path

SAMPLES = [
    {"src": "SUN SHINE", "mt": "the sun shines", "ref": "the sun shines"},
    {"src": "RAIN FALL", "mt": "the wind", "ref": "rain falls"},
    {"src": "RAIN FALL", "mt": "rain falls", "ref": "the rain falls"},
]


def make_encoder(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

    texts = " ".join(" ".join(sample.values()) for sample in SAMPLES)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *sorted({f"\u2581{w}" for w in texts.split()})]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    fast = XLMRobertaTokenizerFast(tokenizer_object=tokenizer)
    fast.save_pretrained(folder)
    torch.manual_seed(3)
    config = XLMRobertaConfig(
        vocab_size=len(fast),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    XLMRobertaModel(config).save_pretrained(folder)


def make_model(folder: Path, encoder: Path, model_class: type, identifier: str) -> list[float]:
    import pytorch_lightning
    import torch
    import yaml

    torch.manual_seed(4)
    model = model_class(
        encoder_model="XLM-RoBERTa",
        pretrained_model=str(encoder),
        layer_transformation="softmax",
        hidden_sizes=[12],
        load_pretrained_weights=True,
        local_files_only=True,
    )
    (folder / "checkpoints").mkdir(parents=True)
    hyperparameters = {**model.hparams, "class_identifier": identifier}
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": pytorch_lightning.__version__,
    }
    torch.save(checkpoint, folder / "checkpoints" / "model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hyperparameters))
    return list(model.predict(SAMPLES, gpus=0, progress_bar=False)["scores"])


def main(root: Path) -> None:
    from comet.models import ReferencelessRegression, RegressionMetric

    make_encoder(root / "encoder")
    kinds = {"regression": RegressionMetric, "referenceless": ReferencelessRegression}
    expected = {
        name: make_model(root / name, root / "encoder", model_class, f"{name}_metric")
        if name == "regression"
        else make_model(root / name, root / "encoder", model_class, f"{name}_regression_metric")
        for name, model_class in kinds.items()
    }
    (root / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
