"""A run to play with: a clean and an adversarially trained net on digits."""

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
    from robustkit.attacks import PGDAttack
    from robustkit.classifiers import MLPNetClassifier
    from robustkit.datasets import load_digits_images

    train = load_digits_images(split="train")
    digits = load_digits_images()
    adversary = PGDAttack(eps=0.1, max_iter=7, random_state=random_state)
    nets = {
        "M_clean": MLPNetClassifier((64, 64), random_state=random_state),
        "M_adv": MLPNetClassifier(
            (64, 64), adversary=adversary, random_state=random_state
        ),
    }
    for net in nets.values():
        net.fit(train.data, train.target)
    attack = PGDAttack(max_iter=20, random_state=random_state)
    views = make_views(nets, digits.data, digits.target, attack, _LEVELS)
    return make_run(
        y=digits.target,
        views=views,
        X=digits.data,
        image_shape=digits.image_shape,
        title="Digits, a clean and an adversarially trained net",
    )
