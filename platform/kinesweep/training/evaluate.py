"""Evaluation of a model on a split: token loss, sentences, scores.

Training's evaluations and the final one pass through `evaluate_batches`; `evaluate_model` is the
same for a folder on disk. Final decoding is always in float32, whatever precision training had, so
that an exported bundle writes the very same sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from kinesweep.batches.evaluation import FixedBatches, eval_batches, references
from kinesweep.batches.limits import within
from kinesweep.batches.text import Text
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.recipe.evaluation import EvaluationConfig, LearnedConfig
from kinesweep.core.recipe.prompt import Asking, ContextConfig
from kinesweep.core.recipe.training import GenerationConfig
from kinesweep.models.translator import Translator
from kinesweep.store.reader import Store
from kinesweep.training.decoding import decode, token_scores
from kinesweep.training.learned import learned_scores
from kinesweep.training.model_folder import ModelFolder, read_model_folder
from kinesweep.training.predictions import Prediction, read_predictions
from kinesweep.training.ranks import gather, on_first, rank_and_world
from kinesweep.training.result import GOLD_CONTEXT
from kinesweep.training.scoring import score
from kinesweep.training.wordnet import check_metrics


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on a split.

    Attributes:
        scores: `token_loss` (unsmoothed, nats a token), `token_accuracy` (per cent) and the
            metrics.
        signatures: metric → how it was computed.
        predictions: in the order of sorted clip ids.
        cut: `fit_clips.<stream>` and `fit_vectors.<stream>`: what was cut of streams that did not
            fit into the language model's positions.
    """

    scores: dict[str, float]
    signatures: dict[str, str]
    predictions: tuple[Prediction, ...]
    cut: dict[str, int] = field(default_factory=dict)


class EvalSet:
    """The batches of a split that one rank scores, made once and kept.

    Args:
        store: the features.
        split: which part.
        text: the tokenizer.
        config: frames a batch; protocol and metrics.
        limits: lengths that leave validation out of bounds; never applied to test.
        max_clips: clips at the most, over all ranks.
        asking: the words around the frames, and the sentences before them.

    Raises:
        InputError: no WordNet or no predictions where the recipe says.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        text: Text,
        config: EvaluationConfig,
        limits: BatchConfig | None = None,
        max_clips: int | None = None,
        asking: Asking = Asking(),
    ) -> None:
        check_metrics(config)
        rank, world = rank_and_world()
        self.batches: FixedBatches = eval_batches(
            store,
            split,
            text,
            config.max_frames,
            max_clips,
            limits,
            rank,
            world,
            replace(asking, prepared=prepared_sentences(asking.context, split)),
        )
        self.text = text
        self.config = config
        self._store, self._split = store, split

    def references(self, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Sentences that a clip may be translated by."""
        return references(self._store, self._split, clip_ids)


def evaluate_batches(
    model: Translator, data: EvalSet, generation: GenerationConfig, num_beams: int | None = None
) -> Evaluation:
    """Scores a model; all ranks call it and all get the whole result.

    Args:
        model: stays in evaluation mode.
        data: what is scored.
        generation: how text is decoded.
        num_beams: instead of `generation.num_beams`.
    """
    model.eval()
    tokens = token_scores(model, data.batches)
    beams = generation.num_beams if num_beams is None else num_beams
    model.cut = {}  # of this split, once
    lines = decode(model, data.text, data.batches, beams, generation)
    wanted = data.references(sorted(lines))
    config = data.config
    scores = score(lines, wanted, config.metrics, config.treatment, config.wordnet)
    return Evaluation(
        scores={**tokens, **scores.values},
        signatures=scores.signatures,
        predictions=tuple(Prediction(i, lines[i], wanted[i]) for i in sorted(lines)),
        cut=_cut(model),
    )


def _cut(model: Translator) -> dict[str, int]:
    """What a model cut on all ranks, by stream; a collective."""
    found: dict[str, int] = {}
    for part in gather(model.cut):
        for name, cut in part.items():
            for key, count in (("fit_clips", cut.clips), ("fit_vectors", cut.vectors)):
                found[f"{key}.{name}"] = found.get(f"{key}.{name}", 0) + count
    return found


def evaluate_model(
    folder: Path,
    store: Store,
    split: str,
    generation: GenerationConfig | None = None,
    evaluation: EvaluationConfig | None = None,
    device: torch.device | str | None = None,
) -> Evaluation:
    """Scores a model folder on a whole split.

    Args:
        folder: `best` of a finished run, or a bundle.
        store: features like those it was trained on.
        split: which part; validation leaves out what the recipe's limits leave out, test nothing.
        generation: default: the recipe's.
        evaluation: default: the recipe's.
        device: where; None: see `Translator.from_pretrained`.

    Raises:
        CheckpointError: not a model folder, or damaged.
        InputError: no WordNet where the recipe says.
        StoreError: the store has no such split.
    """
    loaded = read_model_folder(folder, device)
    return evaluate_loaded(loaded, store, split, generation, evaluation)


def evaluate_loaded(
    loaded: ModelFolder,
    store: Store,
    split: str,
    generation: GenerationConfig | None = None,
    evaluation: EvaluationConfig | None = None,
) -> Evaluation:
    """`evaluate_model` for a folder that is loaded already."""
    recipe = loaded.recipe
    config = evaluation or recipe.evaluation
    data = EvalSet(store, split, loaded.text, config, recipe.taken_batch, asking=recipe.asking)
    found = evaluate_batches(loaded.model, data, generation or recipe.generation)
    return _told(_with_learned(found, config, loaded.model.device), recipe.context)


def evaluate_texts(
    texts: Mapping[str, str],
    store: Store,
    split: str,
    evaluation: EvaluationConfig,
    limits: BatchConfig | None = None,
) -> Evaluation:
    """Scores texts that somebody else wrote, as a model's would be.

    Args:
        texts: clip id → text, for all clips that a model would be scored on.
        store: whose clips they belong to.
        split: which part.
        evaluation: metrics and protocol.
        limits: lengths that leave validation out of bounds.

    Raises:
        InputError: clips are missing or unknown.
        StoreError: the store has no such split.
    """
    if split not in store.splits:
        raise StoreError(f"the store has no split `{split}`; it has {', '.join(store.splits)}")
    records, _ = within(store.records(split), limits, split)
    wanted = {record.clip.id: record.clip.texts for record in records}
    treatment, wordnet = evaluation.treatment, evaluation.wordnet
    scores = score(texts, wanted, evaluation.metrics, treatment, wordnet)
    lines = tuple(Prediction(i, texts[i], wanted[i]) for i in sorted(texts))
    return _with_learned(Evaluation(scores.values, scores.signatures, lines), evaluation, "cpu")


def prepared_sentences(context: ContextConfig, split: str) -> dict[str, str]:
    """Sentences of an earlier run, clip id → text; none where they are not asked for.

    Raises:
        InputError: there are none for this split.
    """
    if context.generation != "prepared" or not context.is_used:
        return {}
    path = {str(name): path for name, path in context.predictions.items()}.get(split)
    if path is None:
        raise InputError(
            f"`context.predictions` names no table for the split `{split}`; it names"
            f" {', '.join(context.predictions)}. Add one, or set `context.generation`."
        )
    return {line.clip_id: line.hypothesis for line in read_predictions(Path(path))}


def _told(found: Evaluation, context: ContextConfig) -> Evaluation:
    """With signatures that tell where sentences were written behind references."""
    if not context.reads_references:
        return found
    told = {metric: f"{how}|{GOLD_CONTEXT}" for metric, how in found.signatures.items()}
    return replace(found, signatures=told)


def _with_learned(
    found: Evaluation, config: EvaluationConfig, device: torch.device | str
) -> Evaluation:
    """With the scores of models, where the recipe asks for them; one rank computes them."""
    if config.learned == LearnedConfig():
        return found
    said = {line.clip_id: line.hypothesis for line in found.predictions}
    wanted = {line.clip_id: line.references for line in found.predictions}
    more = on_first(lambda: learned_scores(said, wanted, config, device))
    return replace(
        found,
        scores={**found.scores, **more.values},
        signatures={**found.signatures, **more.signatures},
    )
