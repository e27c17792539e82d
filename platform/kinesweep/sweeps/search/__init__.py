"""Search policies: samplers, pruners, budgets, and the choice of finalists."""
