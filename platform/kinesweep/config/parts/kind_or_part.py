"""The type of a section that is one of ours, or a part of another package, by its `kind`.

    EncoderConfig = Annotated[LinearEncoderConfig | … | EncoderPart, KindOrPart("linear")]

Sections with one of our kinds are validated as ever, and no entry point is looked up for them.
Any other `kind` is looked up among the entry points of the part's group, and the section is
validated by the configuration class of that part, so its keys, defaults and errors are those of the
part. They are thereby known to overrides, search spaces and JSON schemas too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, PydanticOmit, core_schema

from kinesweep.config.kinds import PART_TAG, UNKNOWN_KIND, make_kind_getter
from kinesweep.config.parts.installed_parts import (
    InstalledPart,
    find_installed_part,
    list_installed_parts,
    load_part_config,
)
from kinesweep.config.parts.part_config import PartConfig
from kinesweep.config.parts.recorded_settings import find_record_problem
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError


@dataclass(frozen=True)
class KindOrPart:
    """Annotation for a union of our configuration classes and one base class of parts.

    Attributes:
        default_kind: `kind` of a mapping without this key; None: the key is required.
        adapt_class: Function from the configuration class of a part to the class that validates the
            section, for sections with further keys; None: the class itself.
    """

    default_kind: str | None = None
    adapt_class: Callable[[Any], Any] | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Build the schema: one choice for each of our kinds, and one for all parts."""
        members = [_strip_annotation(member) for member in get_args(source)]
        (part_class,) = [member for member in members if issubclass(member, PartConfig)]
        choices: dict[Any, CoreSchema] = {}
        for member in members:
            if member is not part_class:
                kinds = get_args(member.model_fields["kind"].annotation)
                choices |= dict.fromkeys(kinds, handler.generate_schema(member))
        part_choice = _PartChoice(part_class, tuple(choices), self.adapt_class)
        get_kind = make_kind_getter(self.default_kind or "")

        def get_tag(value: object) -> str | None:
            """Return the `kind` if it is ours or missing, otherwise the tag of parts."""
            kind = get_kind(value)
            if kind in choices:
                return kind
            # pydantic reports a missing tag itself, and a value that is no section at all.
            if not kind:
                return None if isinstance(value, Mapping) else kind
            return PART_TAG

        return core_schema.tagged_union_schema(
            {**choices, PART_TAG: part_choice.build_schema()}, discriminator=get_tag
        )


@dataclass(frozen=True)
class _PartChoice:
    """The choice of a union that stands for all parts of a group.

    Attributes:
        part_class: Base class of the configurations of these parts.
        our_kinds: Kinds of the other choices.
        adapt_class: See `KindOrPart`.
    """

    part_class: type[PartConfig]
    our_kinds: tuple[str, ...]
    adapt_class: Callable[[Any], Any] | None = None

    def build_schema(self) -> CoreSchema:
        """Build the schema, which serializes each part with its own fields."""
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=core_schema.simple_ser_schema("any"),
            # pydantic's internal key; a function that validates has no JSON schema of its own.
            metadata={"pydantic_js_functions": [self._build_json_schema]},
        )

    def _validate(self, value: Any, info: ValidationInfo) -> PartConfig:
        """Validate a section by the configuration class of its part.

        Raises:
            ValueError: If there is no such part or it cannot be used, or the section is not valid.
        """
        # Validated before, as in a copy of a recipe with other sections.
        if isinstance(value, self.part_class):
            return value
        kind = str(value["kind"])
        part = find_installed_part(self.part_class.group, kind)
        if part is None:
            raise PydanticCustomError(
                UNKNOWN_KIND, "{text}", {"text": self._describe_unknown_kind(kind)}
            )
        # Errors of the part's own fields keep their places: pydantic puts them below this section.
        config_class = self._load_class(part)
        try:
            # The context has the folder of the recipe, which files named in it are relative to.
            config = config_class.model_validate(dict(value), context=info.context)
        # A problem of the section, which pydantic reports.
        except (ValueError, AssertionError):
            raise
        # Validators are code of another package, which may fail in any way.
        except Exception as error:
            raise ValueError(
                f"cannot be validated by {part}: {type(error).__name__}: {error}"
            ) from None
        if problem := find_record_problem(config):
            raise ValueError(f"has a setting of {part} that {problem}")
        return config

    def _load_class(self, part: InstalledPart) -> type[PartConfig]:
        """Import the configuration class of a part, and adapt it to the section.

        Raises:
            InputError: If it cannot be imported.
        """
        config_class = load_part_config(part)
        if self.adapt_class is None:
            return config_class
        adapted: type[PartConfig] = self.adapt_class(config_class)
        return adapted

    def _describe_unknown_kind(self, kind: str) -> str:
        """Describe an unknown `kind`, with all kinds that exist and the most similar one."""
        installed = {
            part.kind: part
            for part in list_installed_parts(self.part_class.group)
            if part.kind not in self.our_kinds
        }
        text = f"must be one of {', '.join(map(repr, self.our_kinds))}"
        text += "".join(f", {name!r} ({part.package})" for name, part in installed.items())
        text += f", but is {kind!r}"
        hint = suggest_closest_word(kind, [*self.our_kinds, *installed])
        if installed:
            return f"{text}{hint}"
        # The question mark of the hint would stand in the middle of the sentence.
        group = self.part_class.group
        return f"{text}{hint.rstrip('?')}; no package with the entry point `{group}` is installed"

    def _build_json_schema(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Build the JSON schema of all installed parts of the group.

        A part that cannot be imported accepts any keys and states the reason.

        Raises:
            PydanticOmit: If no parts are installed, which leaves the choice out.
        """
        schemas: list[dict[str, Any]] = []
        for part in list_installed_parts(self.part_class.group):
            if part.kind in self.our_kinds:
                continue
            try:
                schemas.append(handler(self._load_class(part).__pydantic_core_schema__))
            except InputError as error:
                kind_schema = {"properties": {"kind": {"const": part.kind}}, "required": ["kind"]}
                schemas.append({"type": "object", **kind_schema, "$comment": str(error)})
        if not schemas:
            raise PydanticOmit
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _strip_annotation(member: Any) -> Any:
    """Return the class of a member of a union, which may be annotated with its tag."""
    return get_args(member)[0] if get_origin(member) is Annotated else member
