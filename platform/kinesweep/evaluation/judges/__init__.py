"""Language models that grade texts: prompts, servers, recordings and the scores made of answers."""
