"""The scoring protocol of a recipe with the tokenizer that suits the texts of a corpus.

The tokenizer is chosen from the training texts, so that it is the same for validation, test and all
models of a corpus, and does not depend on what is scored.
"""

from collections.abc import Mapping, Sequence

from kinesweep.config.recipe.evaluation import EvaluationConfig, ScoringProtocol
from kinesweep.evaluation.tokenization.scripts import MAX_SCRIPT_SAMPLE, choose_tokenizer
from kinesweep.store.format.reader import Store


def resolve_protocol(config: EvaluationConfig, store: Store) -> ScoringProtocol:
    """Return a recipe's protocol, with the tokenizer chosen if `tokenize` is `auto`.

    Args:
        config: Evaluation section of a recipe.
        store: Store of the corpus that is scored.

    Raises:
        InputError: If the texts are in several scripts that need different tokenizers.
    """
    protocol = config.protocol_config
    if protocol.tokenize != "auto":
        return protocol
    return _set_tokenizer(protocol, sample_corpus_texts(store))


def resolve_evaluation(config: EvaluationConfig, store: Store) -> EvaluationConfig:
    """Return an evaluation section whose protocol is that of `resolve_protocol`.

    Raises:
        InputError: If the texts are in several scripts that need different tokenizers.
    """
    return config.model_copy(update={"protocol": resolve_protocol(config, store)})


def find_chosen_tokenizer(config: EvaluationConfig, store: Store) -> str | None:
    """Return the tokenizer that `auto` chooses, for the identity of a run.

    None if it is `13a`, the only one of earlier versions, or if the recipe names a tokenizer.

    Raises:
        InputError: If the texts are in several scripts that need different tokenizers.
    """
    if config.protocol_config.tokenize != "auto":
        return None
    tokenizer = resolve_protocol(config, store).tokenize
    return None if tokenizer == "13a" else tokenizer


def resolve_protocol_by_references(
    protocol: ScoringProtocol, references: Mapping[str, Sequence[str]]
) -> ScoringProtocol:
    """Return a protocol, with the tokenizer chosen by references alone if `tokenize` is `auto`.

    Args:
        protocol: Protocol, which `resolve_protocol` may have resolved already.
        references: Clip id → reference sentences.

    Raises:
        InputError: If the references are in several scripts that need different tokenizers.
    """
    if protocol.tokenize != "auto":
        return protocol
    return _set_tokenizer(protocol, [text for i in sorted(references) for text in references[i]])


def sample_corpus_texts(store: Store) -> list[str]:
    """Return up to 2,000 texts of train, spread evenly; of the next split if train has no texts."""
    for split in sorted(store.splits, key=lambda name: name != "train"):
        records = store.get_records(split)
        # The sample is taken before texts are read, because a corpus can have a million clips.
        sample = records[:: max(1, -(-len(records) // MAX_SCRIPT_SAMPLE))]
        texts = [record.clip.texts[0] for record in sample if record.clip.texts]
        if texts:
            return texts
    return []


def _set_tokenizer(protocol: ScoringProtocol, texts: Sequence[str]) -> ScoringProtocol:
    """Return a protocol with the tokenizer that suits the script of texts.

    Raises:
        InputError: If the texts are in several scripts that need different tokenizers.
    """
    return protocol.model_copy(update={"tokenize": choose_tokenizer(texts)})
