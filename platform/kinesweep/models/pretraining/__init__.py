"""Objectives that pretrain a video model: what is predicted, and which weights predict it."""
