"""The other side of the training benchmark: a stock `Seq2SeqTrainer`, used as its examples do.

Every epoch decodes each pose file again, keeps the 178 points of pose-format's `reduce_holistic`,
normalizes them by the shoulders and pads each batch to its longest clip. Nothing is taken from
Kinesweep. The model, its size, the clips a step, the evaluations and the threads are those of
`training_side_by_side.py`, which starts this script as a process of its own.

    python tests/benchmarks/stock_trainer.py --corpus FOLDER --out FOLDER --steps 200
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
import torch
from pose_format import Pose
from pose_format.utils.generic import reduce_holistic
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)

WIDTH = 178 * 3
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "__dgs__", "__de__"]


class PoseTranslator(M2M100ForConditionalGeneration):
    """An M2M-100 that reads a prompt token and projected pose frames."""

    def __init__(self, config: M2M100Config) -> None:
        super().__init__(config)
        self.projection = nn.Linear(WIDTH, config.d_model)
        self.post_init()

    def embed(self, features: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Put the prompt token before the frames; returns the encoder's input and its mask."""
        prompt = torch.full((len(features), 1), SPECIAL_TOKENS.index("__dgs__"))
        embedded = self.get_input_embeddings()(prompt)
        return {
            "inputs_embeds": torch.cat([embedded, self.projection(features)], dim=1),
            "attention_mask": torch.cat([torch.ones_like(prompt), attention_mask], dim=1),
        }

    def forward(self, features: Tensor | None = None, **kwargs: Any) -> Any:
        """Compute loss and logits; without features, as `generate` calls the decoder."""
        if features is not None:
            kwargs |= self.embed(features, kwargs.pop("attention_mask"))
        return super().forward(**kwargs)

    def generate(self, features: Tensor, attention_mask: Tensor, **kwargs: Any) -> Any:
        """Generate the texts of a batch."""
        kwargs.pop("labels", None)
        return super().generate(**self.embed(features, attention_mask), **kwargs)


class PoseDataset(Dataset[dict[str, Any]]):
    """Clips of a TSV; an item decodes its pose file."""

    def __init__(self, corpus: Path, split: str, tokenizer: PreTrainedTokenizerFast) -> None:
        with (corpus / f"{split}.tsv").open(encoding="utf-8") as table:
            self.rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
        self.corpus, self.tokenizer = corpus, tokenizer

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the features (T, 534) and the labels of a clip."""
        row = self.rows[index]
        pose = Pose.read((self.corpus / row["signal"]).read_bytes())
        pose = reduce_holistic(pose)
        pose.normalize(pose.header.normalization_info(*_find_shoulders(pose)))
        features = pose.body.data.filled(0)[:, 0].reshape(len(pose.body.data), -1)
        text = f"{row['decoder_prompt']} {row['output']}"
        return {"features": features.astype(np.float32), "labels": self.tokenizer(text).input_ids}


def _find_shoulders(pose: Pose) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the names of both shoulders."""
    component = "POSE_LANDMARKS"
    return (component, "RIGHT_SHOULDER"), (component, "LEFT_SHOULDER")


def collate(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad clips to the longest one."""
    frames = [torch.from_numpy(item["features"]) for item in items]
    labels = [torch.tensor(item["labels"]) for item in items]
    pad = nn.utils.rnn.pad_sequence
    masks = [torch.ones(len(each), dtype=torch.int64) for each in frames]
    return {
        "features": pad(frames, batch_first=True),
        "attention_mask": pad(masks, batch_first=True),
        "labels": pad(labels, batch_first=True, padding_value=-100),
    }


def train_tokenizer(corpus: Path) -> PreTrainedTokenizerFast:
    """Train a BPE tokenizer of 512 pieces on the training texts."""
    with (corpus / "train.tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=SPECIAL_TOKENS)
    tokenizer.train_from_iterator([row["output"] for row in rows], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", SPECIAL_TOKENS.index("</s>"))]
    )
    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=["__dgs__", "__de__"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def build_model(vocab_size: int) -> PoseTranslator:
    """Build the model of 7.7 million parameters with random weights."""
    config = M2M100Config(
        vocab_size=vocab_size,
        d_model=256,
        encoder_layers=3,
        decoder_layers=3,
        encoder_ffn_dim=1664,
        decoder_ffn_dim=1664,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_bos_token_id=SPECIAL_TOKENS.index("__de__"),
    )
    return PoseTranslator(config)


def main() -> None:
    """Train, evaluate the best model on validation and test, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with the TSVs")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps")
    parser.add_argument("--eval-steps", type=int, default=100, help="steps between evaluations")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    set_seed(1)
    tokenizer = train_tokenizer(args.corpus)
    model = build_model(len(tokenizer))
    splits = {
        split: PoseDataset(args.corpus, split, tokenizer)
        for split in ("train", "validation", "test")
    }

    def compute_metrics(prediction: Any) -> dict[str, float]:
        ids = [
            np.where(each < 0, 1, each) for each in (prediction.predictions, prediction.label_ids)
        ]
        texts, references = (tokenizer.batch_decode(each, skip_special_tokens=True) for each in ids)
        return {"bleu": sacrebleu.corpus_bleu(texts, [references]).score}

    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(
            output_dir=str(args.out),
            max_steps=args.steps,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=8,
            learning_rate=5e-4,
            eval_strategy="steps",
            save_strategy="steps",
            eval_steps=args.eval_steps,
            save_steps=args.eval_steps,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="bleu",
            predict_with_generate=True,
            generation_max_length=40,
            generation_num_beams=1,
            remove_unused_columns=False,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        data_collator=collate,
        compute_metrics=compute_metrics,
    )
    result = trainer.train()
    scores = {
        f"{split}_bleu": trainer.predict(splits[split]).metrics["test_bleu"]
        for split in ("validation", "test")
    }
    parameters = sum(weights.numel() for weights in model.parameters())
    print(json.dumps({"parameters": parameters, "loss": result.training_loss, **scores}))


if __name__ == "__main__":
    main()
