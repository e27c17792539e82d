"""Options of `prepare` that belong to HumanML3D and KIT-ML."""

from typing import Annotated, Literal

import typer

MinFramesOption = Annotated[
    int | None,
    typer.Option(
        help="humanml3d, kit_ml: number of frames of the shortest clip. Default: 40 (humanml3d) or"
        " 24 (kit_ml), as published."
    ),
]
MaxFramesOption = Annotated[
    int,
    typer.Option(
        help="humanml3d, kit_ml: number of frames of the longest clip, as published by default."
    ),
]
MirroredOption = Annotated[
    bool,
    typer.Option(
        "--mirrored/--no-mirrored", help="humanml3d, kit_ml: use mirrored motions (M000001)."
    ),
]
TextFormOption = Annotated[
    Literal["captions", "words"],
    typer.Option(
        help="humanml3d, kit_ml: captions as written, or the words of their tokens, with nouns and"
        " verbs as lemmas, which TM2T learns and scores."
    ),
]
MaxReferencesOption = Annotated[
    int | None,
    typer.Option(
        help="humanml3d, kit_ml: number of references of a clip of validation and test, at most; 3"
        " is published. Default: all."
    ),
]
MotionFeaturesOption = Annotated[
    Literal["joints", "vecs"],
    typer.Option(
        "--features",
        help="humanml3d, kit_ml: joints, for source.kind=skeletons, or the vectors of 263 or 251"
        " features, for feature_tsv.",
    ),
]
