"""Search spaces: parameters, arms, fixed designs, and loading them from YAML."""
