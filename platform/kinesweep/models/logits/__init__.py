"""Processors that change the scores of the next token: restrictions on a text, and sampling."""
