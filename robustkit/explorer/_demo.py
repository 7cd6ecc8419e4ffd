"""A run to play with: a clean and an adversarially trained net on digits."""

from robustkit.attacks import PGDAttack
from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import load_digits_images
from robustkit.explorer._make_views import make_views
from robustkit.explorer._run import make_run

__all__ = ["demo_run"]

_LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2)


def demo_run(random_state=0):
    """Train two nets on digits and attack them at several levels.

    Parameters
    ----------
    random_state : int, default=0
        The same number gives the same run.

    Returns
    -------
    run : Run
        All 1,797 images, seen by both nets.
    """
    train, digits = load_digits_images(split="train"), load_digits_images()
    adversary = PGDAttack(eps=0.1, max_iter=7)
    nets = {
        name: MLPNetClassifier(
            (64, 64), adversary=against, random_state=random_state
        ).fit(train.data, train.target)
        for name, against in (("M_clean", None), ("M_adv", adversary))
    }
    attack = PGDAttack(max_iter=20, random_state=random_state)
    return make_run(
        y=digits.target,
        views=make_views(nets, digits.data, digits.target, attack, _LEVELS),
        X=digits.data,
        image_shape=digits.image_shape,
        title="Digits: a clean and an adversarially trained net",
    )
