"""Write `expected.json`: the scores of the package bleurt-pytorch 0.0.1 on tiny checkpoints.

The package does not import with transformers 5, so it runs in an environment of its own:
`pip install bleurt-pytorch==0.0.1 "transformers<5"`, then `python tests/golden/bleurt/generate.py`.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # type: ignore[import-not-found]


def scores(kind: str) -> list[float]:
    from bleurt_pytorch import (  # type: ignore[import-not-found]
        BleurtConfig,
        BleurtForSequenceClassification,
        BleurtTokenizer,
    )

    with tempfile.TemporaryDirectory() as folder:
        path = tiny.write(Path(folder) / kind, kind)
        config = BleurtConfig.from_pretrained(path)
        model = BleurtForSequenceClassification.from_pretrained(path, config=config).eval()
        tokenizer = BleurtTokenizer.from_pretrained(path)
        references, hypotheses = map(list, zip(*tiny.PAIRS, strict=True))
        limit = config.max_position_embeddings
        with torch.no_grad():
            inputs = tokenizer(
                references,
                hypotheses,
                padding="longest",
                truncation=True,
                max_length=limit,
                return_tensors="pt",
            )
            return [float(value) for value in model(**inputs).logits.flatten()]


if __name__ == "__main__":
    expected = {kind: scores(kind) for kind in ("wide", "plain")}
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("expected.json")
    path.write_text(json.dumps(expected, indent=1) + "\n")
