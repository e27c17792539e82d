"""Settings of `evaluation.judges`: language models that grade texts by stated criteria.

A judge costs money and needs a server, so it grades final results only, unless the recipe asks for
more. Keys of services never stand in a recipe: it names the environment variable that holds one.
"""

import re
from collections.abc import Collection
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig

SPORT_INDICATORS = ("error", "time", "body_part", "causation", "method", "coordination")
"""Criteria on an instruction alone, graded 0 or 1: what it tells the athlete."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BuiltInCriterion = Literal[
    "consistency", "error", "time", "body_part", "causation", "method", "coordination"
]


class CriterionConfig(StrictConfig):
    """A criterion of one's own."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name, part of the score's name.")
    definition: str = Field(min_length=1, description="What the grades mean, in sentences.")
    steps: tuple[str, ...] = Field(
        (), description="Steps of the assessment (chain of thought of G-Eval), in their order."
    )
    minimum: int = Field(1, ge=0, description="Lowest grade.")
    maximum: int = Field(5, ge=1, description="Highest grade.")
    reads_reference: bool = Field(True, description="Show a reference text to the judge.")

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        """Check that the scale has at least two grades."""
        if self.minimum >= self.maximum:
            raise ValueError(f"`minimum` {self.minimum} must be below `maximum` {self.maximum}")
        return self


class ChatServiceConfig(StrictConfig):
    """A server with the chat completion interface of OpenAI, such as vLLM, Ollama or OpenAI's."""

    kind: Literal["openai"] = Field(description="A server that is asked.")
    base_url: str = Field(
        description="Address up to the version, such as `https://api.openai.com/v1` or"
        " `http://127.0.0.1:8000/v1`."
    )
    api_key_variable: str | None = Field(
        None,
        description="Name of the environment variable that holds the key; none: no key is sent.",
    )
    record: str | None = Field(
        None,
        description="JSONL file to which answers are added. Requests that it answers already are"
        " not sent again. It holds the texts, but no key.",
    )
    timeout_s: float = Field(60.0, gt=0, description="Seconds until a request is given up.")
    max_retries: int = Field(
        5,
        ge=0,
        description="Repetitions of a request after a timeout, a lost connection, status 429 or"
        " 5xx, with doubling delays from 1 s, or those that the server asks for.",
    )
    requests_per_minute: float | None = Field(
        None, gt=0, description="Limit of the server; none: as fast as it answers."
    )
    concurrency: int = Field(4, ge=1, le=256, description="Requests at the same time.")

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        """Check the address and the name of the variable, and that neither holds a secret.

        Raises:
            ValueError: If one of them is not of its form.
        """
        # Not validators of the fields: their errors repeat the value, which may be a key.
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("`base_url` must begin with `http://` or `https://` and name a host")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "`base_url` must contain no user, password or query; use `api_key_variable`"
            )
        if self.api_key_variable is not None and not _VARIABLE.fullmatch(self.api_key_variable):
            raise ValueError(
                "`api_key_variable` must be the name of an environment variable, such as"
                " `OPENAI_API_KEY`, not the key itself"
            )
        return self


class ReplayServiceConfig(StrictConfig):
    """A file of recorded answers, with which scoring needs no server and repeats exactly."""

    kind: Literal["replay"] = Field(description="Recorded answers.")
    recording: str = Field(description="JSONL file that `record` of a server has written.")


JudgeServiceConfig = Annotated[ChatServiceConfig | ReplayServiceConfig, Field(discriminator="kind")]


class JudgeConfig(StrictConfig):
    """A language model that grades texts (G-Eval, Liu et al., 2023, arXiv 2303.16634)."""

    label: str = Field(
        "judge",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="First part of the names of scores: `LABEL_CRITERION`.",
    )
    criteria: tuple[BuiltInCriterion | CriterionConfig, ...] = Field(
        ("consistency",),
        min_length=1,
        description="Criteria: `consistency` with a reference (1 to 5); the sport indicators"
        " `error`, `time`, `body_part`, `causation`, `method`, `coordination` of the text alone"
        " (0 or 1, reported in percent); or criteria of one's own.",
    )
    model: str = Field(description="Name of the model, as the server knows it.")
    service: JudgeServiceConfig = Field(description="Server, or recorded answers.")
    scoring: Literal["answers", "probabilities"] = Field(
        "answers",
        description="`answers`: the mean of the grades of `samples` answers. `probabilities`: the"
        " grades weighted by the probabilities of their tokens, from one answer; the server must"
        " return `logprobs`.",
    )
    samples: int = Field(
        1, ge=1, le=100, description="Answers for each text. G-Eval takes 20 at temperature 1."
    )
    samples_per_request: int | None = Field(
        None,
        ge=1,
        description="Most answers that the server gives to one request (`n`); none: all at once.",
    )
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Sampling temperature; none: that of the server."
    )
    max_tokens: int = Field(8, ge=1, description="Longest answer, in tokens.")
    token_limit_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="Name of that limit in requests; it differs between servers."
    )
    seed: int | None = Field(None, description="Seed for servers that take one.")
    references: Literal["best", "together"] = Field(
        "best",
        description="Clips with several references: `best` asks once for each and the highest"
        " grade counts; `together` shows all of them in one request.",
    )
    max_invalid_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of clips without a valid answer above which scoring fails. These clips"
        " are left out of the mean and counted.",
    )
    max_requests: int = Field(
        2000, ge=1, description="Most requests to the server in one evaluation of a split."
    )
    during_training: bool = Field(
        False,
        description="Grade the evaluations during training and search too. Each of them costs"
        " requests.",
    )

    @model_validator(mode="after")
    def _check_scoring(self) -> Self:
        """Check that settings of sampling and grades suit each other.

        Raises:
            ValueError: If they do not.
        """
        names = [get_criterion_name(criterion) for criterion in self.criteria]
        # Found here and not while scoring, when requests have been paid for.
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"`criteria` has `{repeated}` twice")
        if self.scoring == "answers":
            # Equal answers would be paid for several times.
            if self.samples > 1 and self.temperature == 0:
                raise ValueError("`samples` above 1 need a `temperature` above 0; use 1.0")
            return self
        if self.samples != 1:
            raise ValueError("`scoring: probabilities` reads one answer; set `samples: 1`")
        scales = [c for c in self.criteria if not isinstance(c, str) and c.maximum > 9]
        if scales:
            # Grades of two digits may be two tokens, whose probabilities are not independent.
            raise ValueError(
                f"`scoring: probabilities` needs grades of one digit, but `{scales[0].name}` has"
                f" grades to {scales[0].maximum}"
            )
        return self

    @property
    def score_names(self) -> tuple[str, ...]:
        """Return the names of the scores, in the order of `criteria`."""
        return tuple(f"{self.label}_{get_criterion_name(criterion)}" for criterion in self.criteria)


def get_criterion_name(criterion: str | CriterionConfig) -> str:
    """Return the name of a criterion."""
    return criterion if isinstance(criterion, str) else criterion.name


def check_judge_names(judges: Collection[JudgeConfig], taken_names: Collection[str]) -> None:
    """Check that the scores of judges have names of their own.

    Args:
        judges: Judges of a recipe.
        taken_names: Names of other scores.

    Raises:
        ValueError: If a name is that of another score.
    """
    names = set(taken_names)
    for config in judges:
        for name in config.score_names:
            # Scores are stored by name, so the second would replace the first.
            if name in names:
                raise ValueError(f"two scores would be called `{name}`; give judges a `label`")
            names.add(name)


def remove_unhashed_judge_keys(values: list[dict[str, Any]]) -> None:
    """Remove keys that say where answers come from, not what they are, in place.

    A replayed evaluation then has the configuration hash of the one that was recorded.

    Args:
        values: Plain values of the judges of a recipe.
    """
    for judge_values in values:
        # The limit on requests bounds the expense and changes no grade.
        del judge_values["service"], judge_values["max_requests"]
