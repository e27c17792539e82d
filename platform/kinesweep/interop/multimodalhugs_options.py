"""Reasons why keys of MultimodalHugs are not converted, from the table of its options."""

from kinesweep.interop.options.option_table import read_options


def explain_unsupported_key(key: str, class_name: str = "") -> str:
    """Return the reason why a key of MultimodalHugs is not converted.

    Args:
        key: Dotted key of the setting.
        class_name: Class that the setting is for, such as `PoseModalityProcessor`; empty: none.

    Returns:
        Text that continues the line `KEY: VALUE, REASON`; for an unknown key, that it is unknown.
    """
    section, _, name = key.rpartition(".")
    options = [option for option in read_options("multimodalhugs") if name == option.name]
    # Options of different sections may have one name; class and section of the key decide.
    of_class = [option for option in options if class_name and class_name in option.group]
    own = [option for option in options if option.group.startswith(section.split(".")[0])]
    for option in of_class or own or options:
        place = "" if option.here == "–" else f" ({option.here})"
        # An option with an equivalent is left over where the model has no such part: a model that
        # translates texts, for example, has no mapper.
        reason = (
            "which these inputs do not use" if option.reason == "same meaning" else option.reason
        )
        return f"{reason}{place}"
    return "which is an unknown key"
