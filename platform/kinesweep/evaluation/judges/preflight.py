"""Checks of judges before models are trained or decoded: keys, servers, recordings and expense."""

from collections.abc import Collection

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.scores.judges import ChatServiceConfig
from kinesweep.core.errors import JudgeError
from kinesweep.evaluation.judges.panel import JudgePanel, build_judge
from kinesweep.store.format.reader import Store


def check_judges(evaluation: EvaluationConfig, store: Store, splits: Collection[str]) -> None:
    """Check that the judges of a recipe can be asked about all clips of splits.

    Args:
        evaluation: Metrics of a recipe.
        store: Store of the clips.
        splits: Names of the splits that will be scored.

    Raises:
        JudgeError: If a key, a server or a recording is missing, or a server would get more
            requests than `max_requests`.
    """
    for config in evaluation.judges:
        judge = build_judge(config)
        # Before training, so that a missing key does not end a run of days at its last step.
        judge.check()
        # Recorded answers are free, but which texts a model will write is not known yet.
        is_limited = isinstance(config.service, ChatServiceConfig) and not config.service.record
        panel = JudgePanel(config, judge)
        for split in sorted(splits) if is_limited else ():
            num_references = [len(record.clip.texts) for record in store.get_records(split)]
            num_requests = panel.count_requests(num_references)
            if num_requests > config.max_requests:
                raise JudgeError(
                    f"the judge `{config.label}` would need up to {num_requests} requests for the"
                    f" {len(num_references)} clips of {split}, but `max_requests` in"
                    f" `evaluation.judges` is {config.max_requests}; raise it if the expense is"
                    " acceptable"
                )
