"""The winner of a sweep: its test scores, its bundle and its version in the model registry."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kinesweep.checkpoints.model_dir_files import read_recipe
from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.errors import TrackingError
from kinesweep.core.io import write_folder
from kinesweep.evaluation.evaluate import evaluate_model
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.evaluation.tokenization.protocol import resolve_evaluation
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.pipelines.sweeps.model_registry import register_winner
from kinesweep.store import Store
from kinesweep.store.format.test_set_ledger import count_test_evaluations, log_test_evaluation
from kinesweep.sweeps.feature_stores import FeatureStores
from kinesweep.sweeps.journal.run_folders import parse_run_name
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.sweep import record_test_scores
from kinesweep.tracking.backends import MlflowTracker
from kinesweep.training.reproducibility.inference_device import prepare_inference

logger = logging.getLogger(__name__)


def finish_winner(
    outcome: SweepOutcome, recipe: AnyRecipe, stores: FeatureStores, folder: Path, bundle: Path
) -> SweepOutcome:
    """Score the winner on test and export it; of pretraining, copy its best weights.

    Args:
        outcome: Result of the sweep.
        recipe: Recipe of the sweep.
        stores: Feature stores of the sweep.
        folder: Folder of the sweep.
        bundle: Output folder.

    Returns:
        The outcome with the scores on test, if there are any.

    Raises:
        BundleError: If the bundle generates other texts than the winner.
        KinesweepError: If `evaluate_winner_on_test` raises it.
    """
    winner_dir = Path(outcome.winner_runs[0]) / "best"
    if isinstance(recipe, PretrainingRecipe):
        # A resumed sweep may have another winner than the one that was exported before.
        shutil.rmtree(bundle, ignore_errors=True)

        def copy_weights(target: Path) -> None:
            """Copy the best weights of the winner."""
            shutil.copytree(winner_dir, target, dirs_exist_ok=True)

        write_folder(bundle, copy_weights)
        logger.info(f"weights of the winner: {bundle}")
        return outcome
    store = stores.get_store(read_recipe(winner_dir).features)
    # Test comes after the ranking, so it cannot influence the choice. It is noted in the journal,
    # so that a search that is extended later is reported as having seen test.
    outcome = add_test_scores(outcome, store)
    record_test_scores(folder, outcome.test)
    export_winner(outcome, store, bundle)
    return outcome


def add_test_scores(outcome: SweepOutcome, store: Store) -> SweepOutcome:
    """Evaluate the winner on test and return the outcome with the scores and a note.

    The note tells how often test has been scored. The outcome is returned unchanged if the store
    has no test split. For side effects and errors, see `evaluate_winner_on_test`.
    """
    test_scores = evaluate_winner_on_test(outcome, store)
    if not test_scores:
        return outcome
    note = f"Test has been scored {count_test_evaluations(store)} times on these features so far."
    return replace(outcome, test=test_scores, notes=[*outcome.notes, note])


def evaluate_winner_on_test(outcome: SweepOutcome, store: Store) -> dict[str, dict[str, float]]:
    """Evaluate the winner's run of each seed on test.

    Predictions and scores are written to the run's folder, and the evaluation is noted in the
    store's ledger. A run that was evaluated by an earlier call is neither decoded nor noted again.

    Args:
        outcome: Result of the sweep.
        store: Store of the winner's features.

    Returns:
        Seed → metric → score; empty if the store has no test split.

    Raises:
        CheckpointError: If the model of a run is missing or damaged.
        InputError: If a file or a model of a metric is missing.
    """
    if "test" not in store.splits:
        return {}
    scores_by_seed, device = {}, prepare_inference()
    for run in map(Path, outcome.winner_runs):
        # Written last: if it exists, the texts and the entry in the ledger exist too.
        scores_path = run / "test.json"
        # Each evaluation is noted in the ledger, so a resumed sweep must not repeat it.
        if not scores_path.exists():
            evaluation = evaluate_model(run / "best", store, "test", device=device)
            write_predictions(run / "predictions" / "test.tsv", evaluation.predictions)
            # Before the scores: a crash in between notes an evaluation twice, but never omits one.
            log_test_evaluation(store, str(run), evaluation.scores)
            scores_path.write_text(json.dumps(evaluation.scores), encoding="utf-8")
        seed = str(parse_run_name(run.name).seed)
        scores_by_seed[seed] = json.loads(scores_path.read_text(encoding="utf-8"))
    return scores_by_seed


def compute_mean_test_metrics(test: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Compute the mean test scores over seeds.

    Args:
        test: Seed → metric → score.

    Returns:
        `test_METRIC` → mean; empty if test was not scored.
    """
    seed_scores = list(test.values())
    names = seed_scores[0] if seed_scores else {}
    return {
        f"test_{name}": sum(scores[name] for scores in seed_scores) / len(seed_scores)
        for name in names
    }


def export_winner(outcome: SweepOutcome, store: Store, bundle: Path) -> Path:
    """Export the winner's run with the best validation score as a bundle and verify it.

    Of a winner of the stage `align`, the model folder is copied instead. An existing bundle is
    replaced. Logs the number of verified texts.

    Args:
        outcome: Result of the sweep.
        store: Store of the winner's features.
        bundle: Output folder.

    Returns:
        The output folder.

    Raises:
        BundleError: If the bundle generates other texts than the run.
    """
    # `winner_runs` is sorted by validation score.
    run = Path(outcome.winner_runs[0])
    if read_recipe(run / "best").training.stage == "align":
        return _copy_aligned_model(run / "best", bundle)
    test_scores = outcome.test.get(str(parse_run_name(run.name).seed))
    model_card_facts = _summarize_for_model_card(outcome)
    export_bundle(
        run, bundle, store, overwrite=True, test_scores=test_scores, extra_facts=model_card_facts
    )
    num_texts = verify_bundle(bundle, store.folder, run)
    logger.info(f"bundle verified: {num_texts} texts are identical in a fresh process")
    return bundle


def _copy_aligned_model(model_dir: Path, folder: Path) -> Path:
    """Copy a model of the stage `align` to where a bundle would be, and log what it is for.

    Args:
        model_dir: Model folder of the winner's run.
        folder: Output folder; an earlier one is replaced.

    Returns:
        The output folder.
    """

    def copy_files(temporary_dir: Path) -> None:
        """Copy the files of the model folder into a temporary folder."""
        for path in sorted(model_dir.iterdir()):
            shutil.copyfile(path, temporary_dir / path.name)

    folder.parent.mkdir(parents=True, exist_ok=True)
    write_folder(folder, copy_files)
    logger.info(f"the winner does not translate yet: pass `{folder}` to `model.init_from`")
    return folder


def _summarize_for_model_card(outcome: SweepOutcome) -> dict[str, str]:
    """Summarize a sweep as label → text for the winner's model card.

    The score to quote is the mean over seeds, not that of the exported seed.
    """
    best, num_trials = outcome.ranking[0], sum(outcome.trials.values())
    seeds = ", ".join(map(str, best.scores))
    return {
        "seeds": f"trained with {seeds}; this model is the one with the best validation score",
        f"validation {outcome.metric}, mean over seeds": f"{best.mean:.2f}"
        f" [{best.low:.2f}, {best.high:.2f}], 95 %",
        "chosen from": f"{num_trials} trials and {len(outcome.ranking)} configurations in the"
        " finals",
        "question": outcome.question,
    }


def try_register_winner(
    tracker: MlflowTracker,
    folder: Path,
    recipe: AnyRecipe,
    outcome: SweepOutcome,
    stores: FeatureStores,
    bundle: Path,
) -> None:
    """Register the winner and log the decision, or how to register it later if that fails.

    Registration fails if the MLflow server does not answer or refuses.

    Args:
        tracker: MLflow experiment in which the sweep was recorded.
        folder: Folder of the sweep.
        recipe: Recipe of the sweep, which names the model.
        outcome: Result of the sweep.
        stores: Feature stores of the sweep.
        bundle: Folder of the winner's bundle.
    """
    if isinstance(recipe, PretrainingRecipe):
        # The registry holds models that translate; weights for pretraining are a folder.
        logger.info("registry  nothing to register: the winner is no translation model")
        return
    if recipe.training.stage == "align":
        logger.info("registry  not registered: a model of stage `align` does not translate")
        return
    store = stores.get_store(read_recipe(Path(outcome.winner_runs[0]) / "best").features)
    try:
        evaluation = resolve_evaluation(recipe.evaluation, store)
        message = register_winner(
            tracker, folder, recipe.name, outcome, store, bundle, evaluation=evaluation
        )
    except TrackingError as error:
        message = f"not registered: {error}. `kinesweep sweep … --resume` tries again"
    logger.info(f"registry  {message}")
