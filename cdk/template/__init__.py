"""Reads a deployment's synthesized templates, for tests and for the documentation."""
