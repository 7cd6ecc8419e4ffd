"""Experiments of the papers, run again: one module, one command."""
