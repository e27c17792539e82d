"""Common parts of the HTML pages: templates, their filters, and escaped data for scripts."""

import json
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from kinesweep.core.scores import format_score_value, order_scores


@cache
def load_template(name: str) -> jinja2.Template:
    """Load a Jinja template of this package, which escapes values and rejects undefined names.

    The template is cached.

    Args:
        name: Name of a file in the `templates` folder.
    """
    # StrictUndefined: a misspelt name in a template raises instead of rendering as nothing.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["format_value"] = _format_value
    environment.filters["score"] = format_score_value
    environment.filters["score_names"] = order_scores
    environment.globals["asset"] = _read_asset
    return environment.from_string(_read_template_file(name))


def _read_template_file(name: str) -> str:
    """Return the text of a file of this package's `templates` folder."""
    path = resources.files("kinesweep.report") / "templates" / name
    return path.read_text(encoding="utf-8")


def _read_asset(name: str) -> Markup:
    """Return a script or style sheet of the `templates` folder, unescaped, to embed in a page."""
    return Markup(_read_template_file(name))


def encode_script_json(value: object) -> Markup:
    """Encode a plain value as JSON that is safe inside a `<script>` element."""
    json_text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A corpus text such as `</script>` would end the element. Inside JSON strings, the only place
    # where these characters occur, \u escapes mean the same.
    for character in "<>&":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return Markup(json_text)


def _format_value(value: object) -> str:
    """Return the value of a parameter as text, with four significant digits for a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
