"""Options and output of the commands that use a model: prompts, sampling, side tasks, vectors."""
