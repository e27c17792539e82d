"""The argument that names a trained model."""

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    Path, typer.Argument(help="Run folder, its `best`, or a bundle.", show_default=False)
]
AnyModelArgument = Annotated[
    Path,
    typer.Argument(
        help="Run folder, its `best`, or a bundle, also OWNER/NAME on the Hugging Face Hub.",
        show_default=False,
    ),
]
BundleArgument = Annotated[
    Path,
    typer.Argument(
        help="Exported bundle: a folder, or OWNER/NAME on the Hugging Face Hub.",
        show_default=False,
    ),
]
