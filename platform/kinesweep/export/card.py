"""A bundle's card: what the model is, how good, on what, and how to use it."""

from collections.abc import Mapping
from pathlib import Path

from kinesweep import __version__
from kinesweep.core.config import load
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.training import EvaluationConfig
from kinesweep.store import Store
from kinesweep.store.ledger import count_tests
from kinesweep.training.files import write_text
from kinesweep.training.result import RunResult

CARD = "card.md"


def write_card(
    folder: Path,
    result: RunResult,
    store: Store,
    title: str = "",
    test: Mapping[str, float] | None = None,
) -> None:
    """Writes `card.md`; the folder holds `recipe.yaml` already."""
    recipe = load(Recipe, folder / "recipe.yaml")
    scores = {"validation": result.scores, "test": test or result.test or {}}
    lines = [
        f"# {title or recipe.name}",
        "",
        f"Motion in, text out. Trained by Kinesweep {__version__}.",
        "",
        *_scores(scores, result.signatures, recipe.evaluation),
        "",
        *_facts(recipe, result, store),
        "",
        *_usage(recipe.name),
    ]
    write_text(folder / CARD, "\n".join(lines) + "\n")


def _scores(
    scores: Mapping[str, Mapping[str, float]],
    signatures: Mapping[str, str],
    config: EvaluationConfig,
) -> list[str]:
    lines = ["| split | metric | score | signature |", "|---|---|---|---|"]
    bar = "\\|"  # a bare one would end the table's cell
    for split, values in scores.items():
        for metric, value in values.items():
            signature = signatures.get(metric, "nats a token, unsmoothed")
            lines.append(f"| {split} | {metric} | {value:.3f} | `{signature.replace('|', bar)}` |")
    lines += ["", "The checkpoint was chosen on validation, so that score is optimistic."]
    if not scores["test"]:
        lines[-1] += " Test was not scored."
    if config.protocol == "raw":
        lines[-1] += " Texts were scored as they are, case and punctuation included."
    return lines


def _facts(recipe: Recipe, result: RunResult, store: Store) -> list[str]:
    counts = ", ".join(f"{split} {len(store.records(split))}" for split in store.splits)
    generation = recipe.generation
    return [
        "| | |",
        "|---|---|",
        f"| clips | {counts} |",
        f"| feature store | `{store.fingerprint}`, stored as {recipe.store.dtype} |",
        f"| configuration | `{recipe.config_hash(store.fingerprint)}` |",
        f"| seed | {recipe.training.seed} |",
        f"| training | {result.step} steps, {result.samples} clips seen, best at step"
        f" {result.best_step} |",
        f"| decoding | {generation.num_beams} beams, {generation.max_new_tokens} tokens at the"
        f" most, length penalty {generation.length_penalty:g} |",
        f"| weights | `{result.weights_sha256}` |",
        f"| scorings of test | {count_tests(store)} so far on these features |",
        "| licence | not stated; ask the corpus's owner before passing the model on |",
    ]


def _usage(name: str) -> list[str]:
    return [
        "```sh",
        f"kinesweep translate {name} clip.pose",
        "```",
        "",
        "```python",
        "import kinesweep.models  # makes model type `kinesweep` known",
        "from transformers import AutoModel",
        f'model = AutoModel.from_pretrained("{name}")',
        "```",
    ]
