"""Robustness of sparse networks and their random structural priors (2021)."""
