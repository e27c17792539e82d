"""A bundle's card: what the model is, how good, on what, and how to use it."""

from collections.abc import Mapping
from pathlib import Path

from kinesweep import __version__
from kinesweep.core.config import load
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.evaluation import EvaluationConfig
from kinesweep.store import Store
from kinesweep.store.ledger import count_tests
from kinesweep.training.files import write_text
from kinesweep.training.protocol import name_of
from kinesweep.training.result import RunResult

CARD = "card.md"
_OF_TOKENS = {
    "token_loss": "nats a token, unsmoothed",
    "token_accuracy": "% of tokens, each guessed from the true ones before it",
}


def write_card(
    folder: Path,
    result: RunResult,
    store: Store,
    title: str = "",
    test: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes `card.md`; the folder holds `recipe.yaml` already. `facts` are further rows."""
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
        *(f"| {name} | {value} |" for name, value in (facts or {}).items()),
        "",
        *_limits(store),
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
            signature = signatures.get(metric) or _OF_TOKENS.get(metric, "")
            lines.append(f"| {split} | {metric} | {value:.3f} | `{signature.replace('|', bar)}` |")
    lines += ["", "The checkpoint was chosen on validation, so that score is optimistic."]
    if not scores["test"]:
        lines[-1] += " Test was not scored."
    protocol = name_of(config.treatment)
    if protocol == "raw":
        lines[-1] += " Texts were scored as they are, case and punctuation included."
    else:
        lines[-1] += f" Texts and references were treated alike before: `{protocol}`."
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
        f"| training took | {result.seconds / 60:.1f} minutes by the clock |",
        f"| training | {result.step} steps, {result.samples} clips seen, best at step"
        f" {result.best_step} |",
        f"| decoding | {generation.num_beams} beams, {generation.max_new_tokens} tokens at the"
        f" most, length penalty {generation.length_penalty:g} |",
        f"| weights | `{result.weights_sha256}` |",
        f"| scorings of test | {count_tests(store)} so far on these features |",
        "| licence | not stated; ask the corpus's owner before passing the model on |",
    ]


def _limits(store: Store) -> list[str]:
    """What the model is for and what it cannot know, from the data that it has seen."""
    train = store.records("train")
    signers = {record.clip.signer for record in train} - {""}
    frames = sorted(max(record.lengths.values()) for record in train)
    words = {word for record in train for text in record.clip.texts for word in text.split()}
    seen = {text for record in train for text in record.clip.texts}
    others = [r.clip for split in store.splits if split != "train" for r in store.records(split)]
    known = sum(any(text in seen for text in clip.texts) for clip in others)
    return [
        "## Intended use",
        "",
        "Research on translating motion of the kind that it was trained on: the same layout of"
        " points, the same language, signing of one person at a time. Its texts are guesses and"
        " replace no interpreter; decide nothing about people by them.",
        "",
        "## Limits",
        "",
        f"- Trained on {len(train)} clips of {len(signers) or 'unnamed'} signers:"
        f" {len(seen)} distinct sentences, {len(words)} distinct words. What it has not seen there"
        " it can hardly say.",
        f"- Clips of train have {frames[0]} to {frames[-1]} frames, half of them under"
        f" {frames[len(frames) // 2]}.",
        f"- {known} of {len(others)} sentences of the other splits occur in train word for word.",
    ]


def _usage(name: str) -> list[str]:
    return [
        "```sh",
        f"kinesweep translate {name} clip.pose",
        "```",
        "",
        "```python",
        "import kinesweep  # makes model type `kinesweep` known",
        "from transformers import AutoModel",
        f'model = AutoModel.from_pretrained("{name}")',
        "```",
    ]
