"""Populated regions and adversarial robustness (2025)."""
