"""The model card of a bundle: scores, training facts, limits and usage of the model.

It is the `README.md` that the Hugging Face Hub shows, with the same scores as metadata for its
search (`hub.card_metadata`). It states what the run, its store and the recipe's `export.card` say,
and nothing else.
"""

from collections.abc import Mapping
from pathlib import Path

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.export import CardConfig
from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.core.io import write_text
from kinesweep.evaluation.text_normalization import format_protocol
from kinesweep.evaluation.tokenization.protocol import resolve_protocol
from kinesweep.export.hub.card_metadata import build_card_metadata, format_card
from kinesweep.store import Store
from kinesweep.store.format.test_set_ledger import count_test_evaluations
from kinesweep.training.run_records.result import RunResult
from kinesweep.version import __version__

CARD = "README.md"
FORMER_CARD = "card.md"
"""Name of the card in bundles of earlier versions."""
# Descriptions of metrics that have no signature.
_TOKEN_METRIC_DESCRIPTIONS = {
    "token_loss": "nats per token, without label smoothing",
    "token_accuracy": "% of tokens, predicted with teacher forcing",
}


def write_model_card(
    bundle_dir: Path,
    result: RunResult,
    store: Store,
    title: str = "",
    test_scores: Mapping[str, float] | None = None,
    extra_facts: Mapping[str, str] | None = None,
    *,
    base_model: str | None = None,
) -> None:
    """Write the model card of a bundle from its recipe, the run's result and the store.

    Args:
        bundle_dir: Folder of the bundle; it must already contain `recipe.yaml`.
        result: Result of the run.
        store: Feature store that the run was trained on.
        title: Heading of the card; the name of the recipe by default.
        test_scores: Metric → score on the test split; those of the result by default.
        extra_facts: Name → value of additional rows in the table of training facts.
        base_model: Name on the Hub of the model that training started from, if it has one and the
            recipe's `export.card` names none.
    """
    recipe = load_config(Recipe, bundle_dir / "recipe.yaml")
    scores = {"validation": result.scores, "test": test_scores or result.test or {}}
    card = recipe.export.card
    signatures = {"validation": result.signatures, "test": _get_test_signatures(result)}
    metadata = build_card_metadata(
        card,
        recipe.name,
        scores,
        signatures,
        store.fingerprint,
        base_model=card.base_model or base_model,
        has_adapters=recipe.model.backbone.lora is not None,
    )
    lines = [
        f"# {title or recipe.name}",
        "",
        f"Motion in, text out. Trained by Kinesweep {__version__}.",
        "",
        *_format_scores(scores, result, resolve_protocol(recipe.evaluation, store)),
        "",
        *_format_training_facts(
            recipe.compute_config_hash(store.fingerprint),
            recipe.training.seed,
            recipe.generation,
            result,
            store,
        ),
        f"| license | {_format_license(card)} |",
        *(f"| {name} | {value} |" for name, value in (extra_facts or {}).items()),
        "",
        *_format_intended_use_and_limits(store),
        "",
        *_format_usage_examples(recipe.name),
    ]
    write_text(bundle_dir / CARD, format_card(metadata, "\n".join(lines) + "\n"))


def _get_test_signatures(result: RunResult) -> Mapping[str, str]:
    """Return the signatures of scores on test, which may have settings of their own."""
    # CIDEr's signature and a reduced order of BLEU differ between splits.
    return result.test_signatures or result.signatures


def _format_license(card: CardConfig) -> str:
    """Format the license of the model, or that none is stated."""
    if card.license is None:
        return "not stated; ask the owner of the corpus before you distribute the model"
    name = card.license_name or card.license
    return name if card.license_link is None else f"{name}, {card.license_link}"


def _format_scores(
    scores: Mapping[str, Mapping[str, float]],
    result: RunResult,
    protocol: ScoringProtocol,
) -> list[str]:
    """Format the table of scores and a note on how they were obtained, as lines of Markdown.

    Args:
        scores: Split → metric → score; it must contain `test`, which is empty if the test split was
            not scored.
        result: Result of the run, with the signatures, which name the settings of the metrics.
        protocol: Normalization of texts, with the tokenizer of the corpus.
    """
    lines = ["| split | metric | score | signature |", "|---|---|---|---|"]
    escaped_bar = "\\|"  # an unescaped one would end the table cell
    for split, split_scores in scores.items():
        signatures = _get_test_signatures(result) if split == "test" else result.signatures
        for metric, score in split_scores.items():
            signature = signatures.get(metric) or _TOKEN_METRIC_DESCRIPTIONS.get(metric, "")
            lines.append(
                f"| {split} | {metric} | {score:.3f} | `{signature.replace('|', escaped_bar)}` |"
            )
    note = (
        "The checkpoint was selected on the validation split, so validation scores are optimistic."
    )
    if not scores["test"]:
        note += " The test split was not scored."
    protocol_name = format_protocol(protocol)
    if protocol_name == "raw":
        note += " Texts were scored unchanged, including case and punctuation."
    else:
        note += (
            " Texts and references were normalized in the same way before scoring:"
            f" `{protocol_name}`."
        )
    return [*lines, "", note]


def _format_training_facts(
    config_hash: str, seed: int, generation: GenerationConfig, result: RunResult, store: Store
) -> list[str]:
    """Format the table of training data, settings and cost, as lines of Markdown.

    The number of evaluations on the test split is read from the store's ledger.

    Args:
        config_hash: Hash of the configuration and the features, without the seed.
        seed: Random seed of the run.
        generation: The `generation` section.
        result: Result of the run.
        store: Feature store that the run was trained on.
    """
    clip_counts = ", ".join(f"{split} {len(store.get_records(split))}" for split in store.splits)
    dtypes = ", ".join(dict.fromkeys(stream.dtype for stream in store.schema.streams.values()))
    return [
        "| | |",
        "|---|---|",
        f"| clips | {clip_counts} |",
        f"| feature store | `{store.fingerprint}`, stored as {dtypes} |",
        f"| configuration | `{config_hash}` |",
        f"| seed | {seed} |",
        f"| training time | {result.seconds / 60:.1f} minutes of wall-clock time |",
        f"| training | {result.step} steps, {result.samples} clips in total, best checkpoint at"
        f" step {result.best_step} |",
        f"| decoding | {_format_decoding(generation)} |",
        f"| weights | `{result.weights_sha256}` |",
        f"| test evaluations | {count_test_evaluations(store)} so far with these features |",
        *_format_text_coverage(result),
    ]


def _format_decoding(generation: GenerationConfig) -> str:
    """Format the settings of decoding; those of sampling and restrictions only if they are set."""
    text = (
        f"{generation.num_beams} beams, at most {generation.max_new_tokens} tokens,"
        f" length penalty {generation.length_penalty:g}"
    )
    known_keys = {"num_beams", "max_new_tokens", "length_penalty", "truecase"}
    options = generation.get_set_values()
    return text + "".join(
        f", `{key}: {value}`" for key, value in options.items() if key not in known_keys
    )


def _format_text_coverage(result: RunResult) -> list[str]:
    """Format the table row of the texts that the tokenizer cannot write; none if unknown."""
    if not result.text_coverage:
        return []
    parts = [
        f"{split} {shares['unknown_tokens']:.2%} unknown tokens,"
        f" {shares['changed_texts']:.2%} changed texts, {shares['too_long_texts']:.2%} too long"
        for split, shares in result.text_coverage.items()
    ]
    return [f"| texts beyond the tokenizer | {'; '.join(parts)} |"]


def _format_intended_use_and_limits(store: Store) -> list[str]:
    """Format the sections on intended use and limits, as lines of Markdown.

    Args:
        store: Feature store that the run was trained on; statistics of its clips show the limits.

    Raises:
        StoreError: If the store has no split `train`.
    """
    train_records = store.get_records("train")
    signers = {record.clip.signer for record in train_records} - {""}
    lengths = sorted(max(record.lengths.values()) for record in train_records)
    train_texts = {text for record in train_records for text in record.clip.training_texts}
    words = {word for text in train_texts for word in text.split()}
    other_clips = [
        record.clip
        for split in store.splits
        if split != "train"
        for record in store.get_records(split)
    ]
    # Test sentences that also occur in train inflate scores, so their number is reported.
    num_clips_with_train_text = sum(
        any(text in train_texts for text in clip.texts) for clip in other_clips
    )
    return [
        "## Intended use",
        "",
        "Research on the translation of motion like that in the training data: the same point"
        " layout, the same language and one person at a time. The texts may be wrong and do not"
        " replace an interpreter; do not base decisions about people on them.",
        "",
        "## Limits",
        "",
        f"- Trained on {len(train_records)} clips of {len(signers) or 'unnamed'} signers:"
        f" {len(train_texts)} distinct sentences, {len(words)} distinct words. The model can hardly"
        " produce words that do not occur there.",
        f"- Training clips have {lengths[0]} to {lengths[-1]} frames, with a median of"
        f" {lengths[len(lengths) // 2]}.",
        f"- {num_clips_with_train_text} of {len(other_clips)} clips of the other splits have a text"
        " that also occurs in train, word for word.",
    ]


def _format_usage_examples(bundle_name: str) -> list[str]:
    """Format usage examples for the command line and for Python, as lines of Markdown.

    Args:
        bundle_name: Name of the bundle's folder in the examples.
    """
    return [
        "```sh",
        f"kinesweep translate {bundle_name} clip.pose",
        "```",
        "",
        "```python",
        "import kinesweep  # registers the model type `kinesweep` and the task `motion-to-text`",
        "from transformers import pipeline",
        f'translate = pipeline("motion-to-text", model="{bundle_name}")',
        'translate(["clip.pose"])',
        "```",
        "",
        f"`{bundle_name}` stands for this folder, or for its name on the Hub (`OWNER/NAME`).",
    ]
