"""Common parts of the pages: templates, escaped data for scripts, atomic writes."""

import json
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from kinesweep.core.scores import format_score_value, order_scores


@cache
def load_template(name: str) -> jinja2.Template:
    """Load a Jinja template of this package that escapes values and rejects undefined names."""
    # StrictUndefined: a misspelt name in a template raises instead of rendering as nothing.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _format_cell
    environment.filters["score"] = format_score_value
    environment.filters["score_names"] = order_scores
    environment.globals["asset"] = _read_asset
    return environment.from_string(_read_text(name))


def _read_text(name: str) -> str:
    """Return the text of a file of this package's `templates` folder."""
    path = resources.files("kinesweep.report") / "templates" / name
    return path.read_text(encoding="utf-8")


def _read_asset(name: str) -> Markup:
    """Return a script or style sheet to embed, so that a page is one file without a server."""
    return Markup(_read_text(name))


def encode_script_json(value: object) -> Markup:
    """Return a value as JSON that is safe inside a `<script>` element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A corpus text such as `</script>` would end the element. Inside JSON strings, the only place
    # where these characters occur, \u escapes mean the same.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file atomically: under another name in the same folder, then renamed."""
    temporary_path = path.with_name(f".{path.name}.new")
    try:
        temporary_path.write_text(text, encoding="utf-8")
        temporary_path.replace(path)
    finally:
        temporary_path.unlink(missing_ok=True)


def _format_cell(value: object) -> str:
    """Format a value for a table cell."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
