"""Cost estimates from pilot runs and a simulation of the sweep's own policies."""
