"""Servers that misbehave when told to."""
