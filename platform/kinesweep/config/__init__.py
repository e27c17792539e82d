"""Configuration: the schemas of recipes, and loading them from YAML with overrides."""
