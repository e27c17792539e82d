"""Questions to a judge about one text, and the requests that ask them.

The answers to a question may be spread over several requests, for servers that give one answer to
each. Equal requests are numbered, so that each has an answer of its own in a recording.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinesweep.config.recipe.scores.judges import CriterionConfig, JudgeConfig
from kinesweep.evaluation.judges.criteria import build_prompt
from kinesweep.evaluation.judges.protocol import JudgeRequest
from kinesweep.evaluation.text_normalization import unify_forms

_NUM_ALTERNATIVES = 20
"""Most alternatives for which OpenAI's interface returns probabilities."""


@dataclass(frozen=True)
class Question:
    """A text that is graded by a criterion.

    Attributes:
        requests: Requests whose answers give the grade together.
    """

    requests: tuple[JudgeRequest, ...]


def build_questions(
    config: JudgeConfig, criterion: CriterionConfig, hypothesis: str, references: Sequence[str]
) -> list[Question]:
    """Build the questions about a text, of which the best grade counts.

    Args:
        config: Judge of a recipe.
        criterion: Criterion.
        hypothesis: Text to grade.
        references: References of the clip.

    Returns:
        One question, or one for each reference; none for a text without words.
    """
    # Equal texts in two Unicode forms would be two requests with two grades.
    text = unify_forms(hypothesis).strip()
    if not text:
        return []
    shown: list[list[str]] = [[]]
    if criterion.reads_reference:
        unified = [unify_forms(reference).strip() for reference in references]
        shown = [[r] for r in unified] if config.references == "best" else [unified]
    prompts = [build_prompt(criterion, text, some) for some in shown]
    return [Question(_build_requests(config, prompt)) for prompt in prompts]


def count_requests(config: JudgeConfig, criterion: CriterionConfig, num_references: int) -> int:
    """Return the number of requests about one text with this number of references."""
    is_best = criterion.reads_reference and config.references == "best"
    return len(_split_samples(config)) * (num_references if is_best else 1)


def _build_requests(config: JudgeConfig, prompt: str) -> tuple[JudgeRequest, ...]:
    """Build the requests for all answers to a prompt."""
    body: dict[str, Any] = {
        "model": config.model,
        "messages": [{"role": "user", "content": prompt}],
        config.token_limit_key: config.max_tokens,
    }
    if config.temperature is not None:
        body["temperature"] = config.temperature
    # Left out instead of sent as null, which some servers refuse.
    if config.seed is not None:
        body["seed"] = config.seed
    if config.scoring == "probabilities":
        body |= {"logprobs": True, "top_logprobs": _NUM_ALTERNATIVES}
    requests = []
    num_equal: Counter[int] = Counter()
    for count in _split_samples(config):
        # Servers that know no `n` still take requests for one answer.
        sampled = body | ({"n": count} if count > 1 else {})
        requests.append(JudgeRequest(sampled, num_equal[count]))
        num_equal[count] += 1
    return tuple(requests)


def _split_samples(config: JudgeConfig) -> list[int]:
    """Return the numbers of answers that the requests of a question ask for."""
    most = config.samples_per_request or config.samples
    # The last request asks for the rest, so that no answer too many is paid for.
    full, rest = divmod(config.samples, most)
    return [most] * full + ([rest] if rest else [])
