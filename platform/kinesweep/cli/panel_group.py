"""The list of commands in `kinesweep --help`: by panel, one line per command.

Typer draws panels only with rich markup, which also puts boxes around every option and breaks
examples that people paste. This group keeps the plain help and adds the panels.
"""

from typing import Any

from typer.core import TyperGroup


class PanelGroup(TyperGroup):
    """A Typer group that lists its commands under the `rich_help_panel` of each."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel, in the order in which commands were registered.

        Args:
            ctx: Context of the command line. Typer bundles its own copy of Click, which has no
                public types.
            formatter: Formatter that collects the help.
        """
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panel = command.rich_help_panel or "Commands"
            panels.setdefault(panel, []).append((name, command.get_short_help_str(limit=100)))
        # Equal columns in all sections: pad the names to the longest.
        width = max(len(name) for rows in panels.values() for name, _ in rows)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])
