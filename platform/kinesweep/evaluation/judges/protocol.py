"""What a judge is asked and what it answers, whoever answers: a server or a recording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from kinesweep.core.hashing import compute_fingerprint


@dataclass(frozen=True)
class JudgeRequest:
    """A request for one or more answers about one text.

    Attributes:
        body: The complete body of the chat completion, without anything secret.
        repeat: Number of equal requests before this one, which would otherwise share an answer.
    """

    body: Mapping[str, Any]
    repeat: int = 0

    @cached_property
    def digest(self) -> str:
        """Return a digest of the complete request, by which answers are recorded."""
        return compute_fingerprint({"body": dict(self.body), "repeat": self.repeat})


class JudgeToken(NamedTuple):
    """A token of an answer.

    Attributes:
        text: The token.
        alternatives: Token → natural logarithm of its probability at this place, for the most
            probable tokens and the one that was chosen.
    """

    text: str
    alternatives: Mapping[str, float]


@dataclass(frozen=True)
class JudgeChoice:
    """One answer.

    Attributes:
        text: Text of the answer.
        tokens: Tokens of the answer; empty if the server returns no probabilities.
    """

    text: str
    tokens: tuple[JudgeToken, ...] = ()


@dataclass(frozen=True)
class JudgeAnswer:
    """The answers to one request.

    Attributes:
        choices: As many answers as were asked for.
        num_tokens: Tokens of the prompt and of the answers, as the server counts them.
        is_replayed: Whether the answer was recorded earlier and cost nothing.
    """

    choices: tuple[JudgeChoice, ...]
    num_tokens: Mapping[str, int] = field(default_factory=dict)
    is_replayed: bool = False


class Judge(Protocol):
    """Anything that answers requests."""

    def check(self) -> None:
        """Check that the judge can be asked, before models are trained or decoded.

        Raises:
            JudgeError: If a key, a server or a recording is missing.
        """

    def count_unanswered(self, requests: Sequence[JudgeRequest]) -> int:
        """Return the number of requests that would be sent to a server."""

    def answer(self, requests: Sequence[JudgeRequest]) -> list[JudgeAnswer]:
        """Answer requests, in their order.

        Raises:
            JudgeError: If a request cannot be answered.
        """


def parse_response(response: object) -> JudgeAnswer:
    """Parse the JSON values of a chat completion.

    Raises:
        ValueError: If they are not of this form.
    """
    if not isinstance(response, Mapping) or not isinstance(response.get("choices"), list):
        raise ValueError("it has no list `choices`")
    usage = response.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    keys = ("prompt_tokens", "completion_tokens")
    num_tokens = {key: usage[key] for key in keys if isinstance(usage.get(key), int)}
    return JudgeAnswer(tuple(_parse_choice(choice) for choice in response["choices"]), num_tokens)


def _parse_choice(choice: object) -> JudgeChoice:
    """Parse one answer of a chat completion.

    Raises:
        ValueError: If it is not of this form.
    """
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise ValueError("a choice has no `message`")
    # A refusal has no content; it is an answer without a grade.
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise ValueError("the `content` of a message is not a text")
    try:
        tokens = (choice.get("logprobs") or {}).get("content") or []
        parsed = tuple(_parse_token(token) for token in tokens)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"its `logprobs` cannot be read: {error}") from None
    return JudgeChoice(text, parsed)


def _parse_token(token: Mapping[str, Any]) -> JudgeToken:
    """Parse a token of `logprobs`."""
    others = token.get("top_logprobs") or ()
    alternatives = {other["token"]: float(other["logprob"]) for other in others}
    # The chosen token may be missing among the alternatives of a server that returns few.
    alternatives[token["token"]] = float(token["logprob"])
    return JudgeToken(token["token"], alternatives)


def prune_response(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a response that are recorded: answers, probabilities, usage, model."""
    # Ids and times differ with every request and would make equal recordings differ.
    kept = ("choices", "usage", "model", "system_fingerprint")
    return {key: response[key] for key in kept if key in response}
