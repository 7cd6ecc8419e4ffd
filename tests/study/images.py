"""Small images, and studies of them that take seconds."""

import numpy as np
from sklearn.utils import Bunch

from robustkit.attacks import MinimalDistanceAttack


def small_images(n_samples=120, side=6):
    """Two kinds of images: bright above, bright below."""
    rng = np.random.RandomState(0)
    y = np.arange(n_samples) % 2
    X = rng.uniform(0, 0.4, (n_samples, side, side))
    X[y == 0, : side // 2] += 0.5
    X[y == 1, side // 2 :] += 0.5
    X = X.reshape(n_samples, -1).astype(np.float32)
    return Bunch(
        X_train=X[:90],
        y_train=y[:90],
        X_test=X[90:],
        y_test=y[90:],
        image_shape=(1, side, side),
    )


def cheap(study):
    """The same study with fewer, smaller and shorter-trained networks."""
    study.set_params(random_state=0, n_graphs=1)
    if study.population == "pruning":
        study.set_params(estimator__n_steps=2, estimator__estimator__max_epochs=2)
        study.set_params(estimator__retrain_epochs=1)
    else:
        study.set_params(estimator__max_epochs=2, inits=["he_uniform"])
        space = {**study.param_space, "prior__n_nodes": [30]}
        study.set_params(n_parameters=None, param_space=space)
    for attack, _ in (a for a in study.attacks.values() if isinstance(a, tuple)):
        if getattr(attack, "method", None) == "differential_evolution":
            attack.set_params(pop_size=10, max_iter=2)
        elif isinstance(attack, MinimalDistanceAttack):
            attack.set_params(max_iter=5)
    return study
