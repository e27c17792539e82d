"""Extensions of a finished search, which add trials to those of its space."""

from kinesweep.core.errors import ResourceError
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.space.space import SearchSpace


def extend_space(space: SearchSpace, journal: Journal, extra_trials: int) -> SearchSpace:
    """Record an extension, if any, and return the space with the trials of all extensions.

    Args:
        space: Search space without extensions.
        journal: Journal with the earlier extensions.
        extra_trials: Number of trials to add; 0 for no further extension.

    Raises:
        ResourceError: If a full grid is to be extended.
    """
    if extra_trials and space.search.trials is None:
        raise ResourceError("a full grid cannot be extended: it contains all combinations already")
    if extra_trials:
        journal.append_event("extended", trials=extra_trials)
    # The journal already contains the extension that was recorded just now.
    num_added = sum(e["trials"] for e in journal.events if e["event"] == "extended")
    trials = None if space.search.trials is None else space.search.trials + num_added
    return space.model_copy(update={"search": space.search.model_copy(update={"trials": trials})})
