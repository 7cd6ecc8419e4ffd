"""The nearest point at which a model errs."""
