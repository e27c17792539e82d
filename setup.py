"""Build step: copy the recipes and search spaces into the package. All else is in pyproject.toml.

They stay in their folders at the top of the repository, where they are edited and documented. An
editable installation reads them there, so nothing is copied for it.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("jobs/recipes", "search_spaces")


class BuildPackage(build_py):
    """Build the modules, then copy the YAML files to `kinesweep/shipped`, with their folders."""

    def run(self) -> None:
        """Build the modules and copy the files."""
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped_files().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target, preserve_mode=False)

    def get_source_files(self) -> list[str]:
        """Return the files that a source distribution contains because of this step."""
        return [*super().get_source_files(), *self._shipped_files()]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that this step writes."""
        shipped = [] if self.editable_mode else list(self._shipped_files().values())
        return [*super().get_outputs(include_bytecode), *shipped]

    def _shipped_files(self) -> dict[str, str]:
        target = Path(self.build_lib, "kinesweep", "shipped")
        files = [file for folder in SHIPPED for file in sorted(Path(folder).glob("*.yaml"))]
        return {str(file): str(target / file) for file in files}


setup(cmdclass={"build_py": BuildPackage})
