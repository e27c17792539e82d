"""What pages share: templates, data that no text can break out of, files written in one step."""

import json
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from kinesweep.core.scores import format_value, order_scores


@cache
def template(name: str) -> jinja2.Template:
    """A template of this package; a name it lacks is an error, everything is escaped."""
    text = resources.files("kinesweep.report") / "templates" / name
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _shown
    environment.filters["score"] = format_value
    environment.filters["score_names"] = order_scores
    return environment.from_string(text.read_text(encoding="utf-8"))


def for_script(value: object) -> Markup:
    """JSON that no text of a corpus can break out of."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def replace_text(path: Path, text: str) -> None:
    """Writes a file in one step."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _shown(value: object) -> str:
    """A value in a table cell."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
