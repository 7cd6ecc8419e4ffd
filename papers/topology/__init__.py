"""Topology of activations in deep adversarial training (2023)."""
