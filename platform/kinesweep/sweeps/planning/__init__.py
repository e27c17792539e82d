"""Cost estimates: pilot runs, and a simulation of the sweep's own policies."""
