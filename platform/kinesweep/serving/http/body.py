"""Reading of the body of a request within limits of size and time.

The body is a multipart form with a file for each field, or the bytes of one file, whose name and
options are then in the query.
"""

import asyncio
from collections.abc import AsyncGenerator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from kinesweep.serving.accepted_inputs import FILE_FIELD, AcceptedInputs
from kinesweep.serving.clip_request import (
    ClipRequest,
    UploadedFile,
    clean_file_name,
    parse_options,
)
from kinesweep.serving.errors import RequestError
from kinesweep.serving.limits import BodyCounter, RequestGate, ServeLimits

_MAX_FILES = 16
_MAX_FIELDS = 32
_MAX_FIELD_BYTES = 64 * 1024
# Query parameter with the name of the file, if the body is the file itself.
_NAME_PARAMETER = "name"
# Query parameter with the stream that the file belongs to, for a model with several parts.
_FIELD_PARAMETER = "field"
_FORM_TYPE = "multipart/form-data"


async def read_clip_request(
    request: Request,
    inputs: AcceptedInputs,
    limits: ServeLimits,
    gate: RequestGate,
    counter: BodyCounter,
) -> ClipRequest:
    """Read the files and the options of a request.

    Args:
        request: Request whose body has not been read.
        inputs: Inputs that the bundle accepts.
        limits: Limits of the server.
        gate: Gate that admitted the request.
        counter: Counter of the body.

    Raises:
        RequestError: If the body is too large, too slow, malformed, or of another kind.
    """
    # A declared length can be refused at once; the bytes are counted too, since it may be false.
    _check_declared_size(request, gate)
    body = await _read_body(request, limits, counter)
    options = _read_query(request)
    if request.headers.get("content-type", "").lower().startswith(_FORM_TYPE):
        fields, files = await _parse_form(request, body)
        if repeated := options.keys() & fields.keys():
            reason = f"`{min(repeated)}` occurs twice, in the query and in the form"
            raise RequestError(422, "invalid_option", reason)
        options |= fields
    else:
        field = options.pop(_FIELD_PARAMETER, FILE_FIELD)
        name = clean_file_name(options.pop(_NAME_PARAMETER, inputs.get_default_name(field)))
        files = (UploadedFile(field, name, body),)
    parsed = parse_options(options)
    inputs.check_files(files)
    return ClipRequest(parsed, files)


def _read_query(request: Request) -> dict[str, str]:
    """Return the query parameters of a request.

    Raises:
        RequestError: If one occurs twice, so that one of its values would be ignored.
    """
    options: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in options:
            raise RequestError(422, "invalid_option", f"`{name}` occurs twice")
        options[name] = value
    return options


def _check_declared_size(request: Request, gate: RequestGate) -> None:
    """Refuse a body by its `Content-Length`, before any of it is read.

    Raises:
        RequestError: If it is too large.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        gate.check_body_size(int(declared))


async def _read_body(request: Request, limits: ServeLimits, counter: BodyCounter) -> bytes:
    """Read a body, counting its bytes as they arrive.

    Raises:
        RequestError: If it is too large, too slow, or the client ends the connection.
    """
    chunks = []
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in request.stream():
                counter.add(len(chunk))
                chunks.append(chunk)
    except TimeoutError:
        raise RequestError(
            408,
            "body_timeout",
            f"{counter.num_bytes} bytes of the body arrived within {limits.body_timeout_s:g} s",
            {"body_timeout_s": limits.body_timeout_s},
        ) from None
    except ClientDisconnect:
        raise RequestError(400, "disconnected", "the connection ended within the body") from None
    return b"".join(chunks)


def _check_form_end(request: Request, body: bytes) -> None:
    """Check that a form ends with its last delimiter.

    The parser drops a part that is cut off, and with it an option or a file.

    Raises:
        MultiPartException: If the form is cut off.
    """
    _, options = parse_options_header(request.headers["content-type"])
    if b"--" + options[b"boundary"] + b"--" not in body:
        raise MultiPartException("It ends within a part.")


async def _parse_form(
    request: Request, body: bytes
) -> tuple[dict[str, str], tuple[UploadedFile, ...]]:
    """Parse a multipart form to its fields and files.

    Raises:
        RequestError: If the form is malformed, or has too many or too long fields.
    """

    async def iter_body() -> AsyncGenerator[bytes, None]:
        yield body

    # The parser reads a stream; the body was read before it, within the limits of size and time.
    parser = MultiPartParser(
        request.headers,
        iter_body(),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
        _check_form_end(request, body)
    except (MultiPartException, FormParserError, KeyError, ValueError) as error:
        reason = getattr(error, "message", None) or f"{error}"
        if "maximum size" in reason:
            reason += " A part with a file needs a `filename`."
        raise RequestError(400, "malformed_form", f"the form cannot be read: {reason}") from None
    fields: dict[str, str] = {}
    files = []
    try:
        for field, value in form.multi_items():
            if isinstance(value, UploadFile):
                name = clean_file_name(value.filename or "")
                files.append(UploadedFile(field, name, await value.read()))
            elif field in fields:
                raise RequestError(422, "invalid_option", f"`{field}` occurs twice")
            else:
                fields[field] = value
    finally:
        await form.close()
    return fields, tuple(files)
