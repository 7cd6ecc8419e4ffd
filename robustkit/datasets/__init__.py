"""Images in, labels out."""

__all__ = []
