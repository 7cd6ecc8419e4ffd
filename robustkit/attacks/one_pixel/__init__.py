"""One pixel of an image, or one feature of a table, changed to any value.

`_query` says how a model is queried about candidates, `_search` looks for one that
fools, and `_certify` proves that there is none. The package bears the name of its
function, `robustkit.attacks.one_pixel.one_pixel`.
"""
# ruff: noqa: F401

from robustkit.attacks.one_pixel._certify import PixelCertifier
from robustkit.attacks.one_pixel._query import PixelModel, PixelSpace, query_about
from robustkit.attacks.one_pixel._search import find_pixels, one_pixel

# What is not in `__all__` is for the estimator, not for users.
__all__ = ["one_pixel"]
