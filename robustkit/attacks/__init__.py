"""What is done to a model, and how robust that shows it to be."""

from robustkit.attacks._bim import BIMAttack
from robustkit.attacks._fgsm import FGSMAttack
from robustkit.attacks._growing_epsilon import GrowingEpsilonAttack
from robustkit.attacks._least_likely import LeastLikelyAttack
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._one_pixel import OnePixelAttack
from robustkit.attacks._pgd import PGDAttack
from robustkit.attacks._result import AttackResult
from robustkit.attacks._scorer import robust_scorer

__all__ = [
    "AttackResult",
    "BIMAttack",
    "FGSMAttack",
    "GrowingEpsilonAttack",
    "LeastLikelyAttack",
    "ModuleAttack",
    "OnePixelAttack",
    "PGDAttack",
    "robust_scorer",
]
