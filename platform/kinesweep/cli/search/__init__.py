"""Commands on searches that consist of several sweeps."""
