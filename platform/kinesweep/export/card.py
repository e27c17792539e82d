"""A bundle's card: what the model is, how good, on what, and how to use it."""

from pathlib import Path

from kinesweep.core.config import load
from kinesweep.core.recipe import Recipe
from kinesweep.training.files import read_json, write_text
from kinesweep.training.result import RunResult

CARD = "card.md"


def write_card(folder: Path, result: RunResult, title: str = "") -> None:
    """Writes `card.md` from the other files of the folder."""
    recipe = load(Recipe, folder / "recipe.yaml")
    features = read_json(folder / "features.json")
    lines = [f"# {title or recipe.name}", "", "Motion to text, trained by Kinesweep.", ""]
    lines += ["| split | metric | score | signature |", "|---|---|---|---|"]
    for split, scores in (("validation", result.scores), ("test", result.test or {})):
        for metric, value in scores.items():
            signature = result.signatures.get(metric, "nats a token, unsmoothed")
            lines.append(f"| {split} | {metric} | {value:.3f} | `{signature}` |")
    lines += [
        "",
        "The best checkpoint was chosen on validation; that score is optimistic.",
        "",
        f"- seed {recipe.training.seed}, best step {result.best_step} of {result.step},"
        f" {result.samples} clips seen",
        f"- feature store `{features['store_fingerprint']}`, stored as {features['store_dtype']}",
        f"- weights SHA-256 `{result.weights_sha256}`",
        "- licence of the corpus: not stated; ask its owner before passing the model on",
        "",
        "```",
        "kinesweep translate FOLDER clip.pose",
        "```",
        "```python",
        "import kinesweep.models",
        "from transformers import AutoModel",
        'model = AutoModel.from_pretrained("FOLDER")',
        "```",
    ]
    write_text(folder / CARD, "\n".join(lines) + "\n")
