"""Errors of the Hugging Face Hub as messages that say what to do, without secrets in them.

`huggingface_hub` retries what may pass (rate limits, server errors, dropped connections) and then
raises errors of many types, some of them wrapped. Here each becomes a `HubError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from kinesweep.core.errors import HubError, KinesweepError, format_one_line

# Status of a response → what is wrong and what to do; `{repo}` is the name of the repository.
_STATUS_MESSAGES = {
    400: "the request for `{repo}` was rejected: {reason}",
    # Also for private repositories, whose existence the Hub does not reveal.
    401: "the Hub does not accept the token for `{repo}`, or the repository does not exist; run"
    " `hf auth login` again, or set `HF_TOKEN`",
    402: "the Hub asks for a payment for `{repo}`: {reason}",
    # Also for gated repositories, whose page asks for consent before a download.
    403: "the token has no permission for `{repo}` ({reason}); to load it, ask for access on its"
    " page; to push to it, create a token that may write there"
    " (https://huggingface.co/settings/tokens), or use a name of your own",
    404: "there is no repository `{repo}` on the Hub that this token can see; check the name and"
    " the owner",
    412: "`{repo}` was changed by somebody else in the meantime; run the same command again",
    413: "a file is too large for `{repo}`: {reason}",
    429: "the Hub limits the rate of requests; wait a few minutes and run the same command again",
}
_SERVER_ERROR = (
    "the Hub failed with status {status} for `{repo}`; run the same command again later, which"
    " continues with what is missing"
)
_UNREACHABLE = (
    "the Hub at {endpoint} cannot be reached ({reason}); check the network and run the same command"
    " again, which continues with what is missing"
)
OFFLINE = (
    "`HF_HUB_OFFLINE` is set, so the Hub is not asked for `{repo}`; unset it to use the network"
)


@contextmanager
def name_hub_errors(repo: str) -> Iterator[None]:
    """Turn the errors of `huggingface_hub` in the `with` block into errors with a next step.

    Args:
        repo: Name of the repository, for the messages.

    Raises:
        HubError: If the block raises an error of the Hub or of the network.
    """
    try:
        yield
    except KinesweepError:
        raise
    except Exception as error:
        message = _describe_error(error, repo)
        if message is None:
            raise
        # Without the cause: its text may contain headers of the request.
        raise HubError(message) from None


def _describe_error(error: Exception, repo: str) -> str | None:
    """Describe an error of the Hub; None if it is of another kind.

    Args:
        error: Exception of `huggingface_hub`, of its HTTP client or of a thread of an upload.
        repo: Name of the repository.
    """
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RevisionNotFoundError,
    )

    for cause in _iter_causes(error):
        reason = _format_reason(cause, 200)
        if isinstance(cause, OfflineModeIsEnabled):
            return OFFLINE.format(repo=repo)
        if isinstance(cause, RevisionNotFoundError):
            return f"`{repo}` has no such revision; see its list of commits and branches"
        if isinstance(cause, HfHubHTTPError):
            return _describe_response(cause, repo)
        if isinstance(cause, httpx2.TransportError):
            name = type(cause).__name__
            return _UNREACHABLE.format(endpoint=constants.ENDPOINT, reason=f"{name}: {reason}")
        if isinstance(cause, HFValidationError):
            return f"`{repo}` is not a name of a repository: {reason}"
    if isinstance(error, LocalEntryNotFoundError):
        # `huggingface_hub` looked into its cache because the Hub did not answer.
        return f"`{repo}` is not in the cache, and the Hub does not answer: {_format_reason(error)}"
    # Any other type is a bug of this package, whose traceback is wanted.
    if isinstance(error, OSError | ValueError | RuntimeError):
        return f"the Hub cannot be used for `{repo}`: {_format_reason(error)}"
    return None


def _describe_response(error: Exception, repo: str) -> str:
    """Describe a response of the Hub with the status of an error."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    reason = _format_reason(getattr(error, "server_message", None) or error, 200)
    message = _STATUS_MESSAGES.get(status)
    if message is None:
        message = (
            _SERVER_ERROR if status >= 500 else "the Hub answers {status} for `{repo}`: {reason}"
        )
    return message.format(repo=repo, status=status, reason=reason)


def _iter_causes(error: Exception) -> Iterator[Exception]:
    """Yield an error and what caused it, outermost first."""
    current: BaseException | None = error
    while isinstance(current, Exception):
        yield current
        current = current.__cause__ or current.__context__


def _format_reason(error: Exception | str, max_chars: int = 300) -> str:
    """Format a reason on one line, without the token, in case a server repeats it in its answer.

    Args:
        error: Exception or message of a server.
        max_chars: Maximum number of characters.
    """
    from huggingface_hub import get_token

    text, token = str(error), get_token()
    # Before the text is cut, which could leave the first half of the token.
    return format_one_line(ValueError(text.replace(token, "***") if token else text), max_chars)
