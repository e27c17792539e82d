"""What other systems saved, as ours: settings become recipes, model folders become our own.

Nothing is dropped in silence: settings that have no counterpart are listed with the reason, and
every tensor of a model folder is accounted for.
"""

from kinesweep.foreign.settings import Converted, convert_settings
from kinesweep.foreign.signllava import import_projectors
from kinesweep.foreign.ssvp import import_ssvp
from kinesweep.foreign.weights import import_model

__all__ = ["Converted", "convert_settings", "import_model", "import_projectors", "import_ssvp"]
