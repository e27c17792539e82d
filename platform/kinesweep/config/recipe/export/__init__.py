"""Recipe section `export`: what the model card of a bundle states about license and data.

None of it can be derived from a run, and none of it changes a model, so no hash covers it. What is
not stated here is not stated on the card.
"""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from kinesweep.config.loading import StrictConfig

HUB_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"
_OTHER_LICENSE = "other"
HubId = Annotated[str, Field(pattern=HUB_ID_PATTERN, max_length=96)]
# ISO 639-1 to 639-3, with a script or a region; the Hub accepts `multilingual` too.
LanguageCode = Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*|multilingual)$")]
Tag = Annotated[str, Field(pattern=r"^[^\s,:][^,:\n]*$", max_length=64)]


class CardConfig(StrictConfig):
    """The facts of a model card that only its author knows."""

    license: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.+-]*$",
        description="License of the model by its identifier on the Hub, such as `cc-by-4.0`, or"
        " `other` with `license_name`. Unset: the card says that it is not stated.",
    )
    license_name: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="Name of a license that the Hub does not list; requires `license: other`.",
    )
    license_link: str | None = Field(
        None,
        pattern=r"^(https://\S+|LICENSE[A-Za-z.]*)$",
        description="Address of the text of that license; requires `license: other`.",
    )
    datasets: tuple[HubId, ...] = Field(
        (), description="Data sets of the training on the Hub, such as `OWNER/NAME`."
    )
    language: tuple[LanguageCode, ...] = Field(
        (), description="ISO 639 codes of the languages, signed and written, such as `[ase, en]`."
    )
    base_model: HubId | None = Field(
        None,
        description="Model on the Hub that training started from. Unset:"
        " `model.backbone.pretrained` if that is a name on the Hub.",
    )
    tags: tuple[Tag, ...] = Field((), description="Further tags, by which the Hub finds models.")

    @field_validator("datasets", "language", "tags", mode="before")
    @classmethod
    def _check_list(cls, value: Any) -> Any:
        """Refuse a single text where a list is expected.

        Raises:
            ValueError: If the value is a text; the message shows it as a list.
        """
        if isinstance(value, str):
            raise ValueError(f"must be a list, such as [{value}]")
        return value

    @model_validator(mode="after")
    def _check_license(self) -> "CardConfig":
        """Check that a license that the Hub does not list has a name, and that no other has one.

        Raises:
            ValueError: If `license_name` or `license_link` does not fit `license`.
        """
        is_named = self.license_name is not None or self.license_link is not None
        if is_named and self.license != _OTHER_LICENSE:
            raise ValueError(
                "`license_name` and `license_link` describe a license that the Hub does not list;"
                f" set `license: {_OTHER_LICENSE}`, or remove them"
            )
        if self.license == _OTHER_LICENSE and self.license_name is None:
            raise ValueError(f"`license: {_OTHER_LICENSE}` needs `license_name`")
        return self


class ExportConfig(StrictConfig):
    """The export of a finished run."""

    card: CardConfig = Field(CardConfig(), description="Statements on the model card.")
