"""What is done to a model, and how robust that shows it to be."""
# ruff: noqa: F401

from robustkit.attacks import functional
from robustkit.attacks._base import ModuleAttack
from robustkit.attacks._best_of import best_of
from robustkit.attacks._bim import BIMAttack, LeastLikelyAttack
from robustkit.attacks._fgsm import FGSMAttack
from robustkit.attacks._growing_epsilon import GrowingEpsilonAttack
from robustkit.attacks._one_pixel import OnePixelAttack
from robustkit.attacks._pgd import PGDAttack

# For the report of a study, not for users: from where on a gradient looks masked.
from robustkit.attacks._report import SUSPICIOUS_GAP
from robustkit.attacks._result import AttackResult, robust_scorer
from robustkit.attacks._square import SquareAttack

__all__ = [
    "AttackResult",
    "BIMAttack",
    "FGSMAttack",
    "GrowingEpsilonAttack",
    "LeastLikelyAttack",
    "ModuleAttack",
    "OnePixelAttack",
    "PGDAttack",
    "SquareAttack",
    "best_of",
    "robust_scorer",
]
