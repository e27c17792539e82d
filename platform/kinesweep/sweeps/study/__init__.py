"""The Optuna study of a sweep, a copy of its journal for Optuna's own tools."""
