"""Score a model, or another system's texts, on a split of the model's corpus."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kinesweep.config.loading import load
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.io import write_json
from kinesweep.evaluation.evaluate import Evaluation, evaluate_model, evaluate_texts
from kinesweep.evaluation.predictions import read_predictions, write_predictions
from kinesweep.evaluation.scoring import sentence_chrf
from kinesweep.evaluation.train_overlap import Part, apart, train_sentences
from kinesweep.pipelines.extraction import find_training_store
from kinesweep.pipelines.inputs import model_folder
from kinesweep.store import Store
from kinesweep.store.format.test_set_ledger import note_test

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """The output files of an evaluation.

    Attributes:
        texts: TSV of the hypotheses, each with its chrF score.
        results: JSON file of the scores, their signatures and the decoding settings; None: no file.
    """

    texts: Path
    results: Path | None


def resolve_output_paths(out: Path, split: str, overwrite: bool) -> Outputs:
    """Return the output files for a split and check that they can be written.

    Args:
        out: Output folder, or a `.tsv` file for the texts alone.
        split: Name of the split, which the files in a folder begin with.
        overwrite: Whether existing files may be replaced.

    Raises:
        InputError: If a file exists and `overwrite` is not set, or if `out` is another file.
    """
    if out.suffix == ".tsv":
        places = Outputs(out, None)
    elif out.is_file():
        raise InputError(f"`{out}` is a file; pass a folder or a name that ends in `.tsv`")
    else:
        places = Outputs(out / f"{split}_outputs.tsv", out / f"{split}_results.json")
    for path in (places.texts, places.results):
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"`{path}` already exists; choose another path or pass `--overwrite`")
    return places


def evaluate_model_dir(
    place: Path,
    split: str,
    overrides: Sequence[str],
    out: Outputs | None,
    predictions: Path | None = None,
) -> tuple[Evaluation, list[Part]]:
    """Score a model on a split; scorings of test are noted in the store's ledger.

    Args:
        place: Folder of a run, a model or a bundle.
        split: Split of the model's corpus.
        overrides: Overrides of the model's recipe.
        out: Output files; None: nothing is written.
        predictions: TSV of another system's texts, which are scored instead of the model's.

    Returns:
        The scores of the split, and separate scores of the sentences that occur in train and of
        those that do not.

    Raises:
        ConfigError: If an override is invalid.
        InputError: If the predictions belong to other clips.
    """
    folder = model_folder(place)
    store = find_training_store(place, overrides)
    recipe = load(Recipe, folder / "recipe.yaml", overrides)
    if predictions is not None:
        texts = {line.clip_id: line.hypothesis for line in read_predictions(predictions)}
        found = evaluate_texts(texts, store, split, recipe.evaluation, recipe.effective_batch)
    else:
        found = evaluate_model(folder, store, split, recipe.generation, recipe.evaluation)
    scored = str(predictions or place)
    # Noted whether or not anything is written: the ledger counts every look at test.
    if split == "test":
        note_test(store, scored, found.scores)
    parts = apart(found.predictions, train_sentences(store), recipe.evaluation)
    if out is not None:
        # Another system's decoding settings are unknown; the recipe's must not be reported for it.
        generation = None if predictions is not None else recipe.generation.model_dump(mode="json")
        facts = {"split": split, "scored": scored, "generation": generation}
        _write(out, found, parts, store, recipe, facts)
    return found, parts


def _write(
    out: Outputs,
    found: Evaluation,
    parts: Sequence[Part],
    store: Store,
    recipe: Recipe,
    facts: Mapping[str, object],
) -> None:
    """Write the texts and then the results, in which the facts come before the scores."""
    said = {line.clip_id: line.hypothesis for line in found.predictions}
    wanted = {line.clip_id: line.references for line in found.predictions}
    chrf = sentence_chrf(said, wanted, recipe.evaluation.protocol_config)
    write_predictions(out.texts, found.predictions, chrf)
    logger.info(f"predictions {out.texts}")
    if out.results is None:
        return
    plain = {
        **facts,
        "clips": len(found.predictions),
        "store": store.fingerprint,
        "evaluation": recipe.evaluation.model_dump(mode="json"),
        "scores": found.scores,
        "signatures": found.signatures,
        "parts": [asdict(part) for part in parts],
    }
    write_json(out.results, plain)
    logger.info(f"results     {out.results}")
