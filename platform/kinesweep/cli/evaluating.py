"""Scores a model, or another system's texts, on a split of the model's corpus."""

from collections.abc import Sequence
from pathlib import Path

from kinesweep.cli.output import say
from kinesweep.cli.workflows import model_folder, store_of
from kinesweep.core.config import load
from kinesweep.core.recipe import Recipe
from kinesweep.store.ledger import note_test
from kinesweep.training.apart import Part, apart, train_sentences
from kinesweep.training.evaluate import Evaluation, evaluate_model, evaluate_texts
from kinesweep.training.predictions import read_predictions, write_predictions
from kinesweep.training.scoring import sentence_chrf


def evaluate_folder(
    place: Path,
    split: str,
    overrides: Sequence[str],
    out: Path | None,
    predictions: Path | None = None,
) -> tuple[Evaluation, list[Part]]:
    """Scores a model on a split; scoring test is noted in the store's ledger.

    Args:
        place: the model.
        split: which part of its corpus.
        overrides: of its recipe.
        out: where the texts go, each with its own chrF.
        predictions: texts of another system, which are scored instead.

    Returns:
        Its scores, and those of sentences that occur in train and of the others, apart.

    Raises:
        ConfigError: an override is wrong.
        InputError: the predictions are of other clips.
    """
    folder = model_folder(place)
    store = store_of(place, overrides)
    recipe = load(Recipe, folder / "recipe.yaml", overrides)
    if predictions is not None:
        texts = {line.clip_id: line.hypothesis for line in read_predictions(predictions)}
        found = evaluate_texts(texts, store, split, recipe.evaluation, recipe.batch)
    else:
        found = evaluate_model(folder, store, split, recipe.generation, recipe.evaluation)
    if split == "test":
        note_test(store, str(predictions or place), found.scores)
    if out is not None:
        said = {line.clip_id: line.hypothesis for line in found.predictions}
        wanted = {line.clip_id: line.references for line in found.predictions}
        treatment = recipe.evaluation.treatment
        write_predictions(out, found.predictions, sentence_chrf(said, wanted, treatment))
        say(f"predictions {out}")
    return found, apart(found.predictions, train_sentences(store), recipe.evaluation)
