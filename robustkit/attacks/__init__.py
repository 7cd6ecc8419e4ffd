"""What is done to a model, and how robust that shows it to be."""
# ruff: noqa: F401

from robustkit.attacks import functional

# For other rooms, not for users.
from robustkit.attacks._attacked_model import probabilities_of
from robustkit.attacks._best_of import best_of
from robustkit.attacks._bim import BIMAttack, LeastLikelyAttack
from robustkit.attacks._bracket import robustness_bracket
from robustkit.attacks._fgsm import FGSMAttack
from robustkit.attacks._growing_epsilon import GrowingEpsilonAttack
from robustkit.attacks._many import attack_many, fit_to_each, report_each
from robustkit.attacks._minimal_distance import MinimalDistanceAttack
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._one_pixel import OnePixelAttack
from robustkit.attacks._pgd import PGDAttack

# For other rooms, not for users: signs that an attack failed.
from robustkit.attacks._report import SUSPICIOUS_GAP, warn_of_rise
from robustkit.attacks._result import AttackResult, robust_scorer
from robustkit.attacks._square import SquareAttack

__all__ = [
    "AttackResult",
    "BIMAttack",
    "FGSMAttack",
    "GrowingEpsilonAttack",
    "LeastLikelyAttack",
    "MinimalDistanceAttack",
    "ModuleAttack",
    "OnePixelAttack",
    "PGDAttack",
    "SquareAttack",
    "attack_many",
    "best_of",
    "robust_scorer",
    "robustness_bracket",
]
