"""Sections of a pretraining recipe that no other recipe has: windows, model, objective, loop."""
