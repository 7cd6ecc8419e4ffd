"""The pictures are those of the samples, and the titles what the model says."""

import numpy as np
import pytest

from robustkit.attacks import FGSMAttack, OnePixelAttack, PGDAttack
from robustkit.plotting import AdversarialExamplesDisplay
from tests.attacks.pixel_victims import fitted, images
from tests.attacks.victims import aim, digits, digits_pipeline


def test_rows_are_the_first_that_were_fooled(pyplot):
    X, y = digits(80)
    attack = aim(FGSMAttack(eps=0.1), digits_pipeline(), X, y)
    display = AdversarialExamplesDisplay.from_estimator(attack, X, y, n_examples=3)
    result = attack.perturb(X, y)
    rows = np.flatnonzero(result.success)[:3]
    assert display.axes_.shape == (3, 3)
    for axes, i in zip(display.axes_, rows, strict=True):
        original, move, adversarial = (ax.images[0].get_array() for ax in axes)
        np.testing.assert_allclose(original, X[i].reshape(8, 8))
        np.testing.assert_allclose(adversarial, result.X_adv[i].reshape(8, 8))
        np.testing.assert_allclose(move, adversarial - original, atol=1e-6)
        assert f"“{result.clean_prediction[i]}”" in axes[0].get_title()
        assert f"“{result.prediction[i]}” ({result.confidence[i]:.0%})" in (
            axes[2].get_title()
        )
    assert display.figure_ is display.axes_[0, 0].figure


def test_shape_is_that_of_the_attack(pyplot):
    X, y = images()
    attack = aim(OnePixelAttack(method="exhaustive"), fitted("linear"), X, y)
    attack.set_params(image_shape=(5, 5))
    display = AdversarialExamplesDisplay.from_estimator(attack, X, y, n_examples=2)
    move = display.axes_[0, 1].images[0].get_array()
    assert move.shape == (5, 5)
    assert (move != 0).sum() == 1


def test_colour_images_and_axes_of_ones_own(pyplot):
    X = np.full((1, 12), 0.5)
    X_adv = X.copy()
    X_adv[0, 4] = 1.0
    _, axes = pyplot.subplots(1, 3, squeeze=False)
    display = AdversarialExamplesDisplay(
        X, X_adv, ["cat"], ["dog"], image_shape=(3, 2, 2)
    ).plot(axes)
    assert display.axes_ is axes
    move = axes[0, 1].images[0].get_array()
    assert move.shape == (2, 2, 3)
    assert move[0, 0, 1] == 1
    assert (np.asarray(move) == 0.5).sum() == 11
    assert axes[0, 2].get_title() == "adversarial\n“dog”"


def test_nothing_fooled_is_refused(pyplot):
    X, y = digits(20)
    attack = aim(FGSMAttack(eps=0.0), digits_pipeline(), X, y)
    with pytest.raises(ValueError, match="fooled the model on none of 20 samples"):
        AdversarialExamplesDisplay.from_estimator(attack, X, y)


def test_samples_that_are_no_square_need_a_shape(pyplot):
    display = AdversarialExamplesDisplay(np.zeros((1, 6)), np.ones((1, 6)), [0], [1])
    with pytest.raises(ValueError, match="6 features are no square image"):
        display.plot()


def test_from_estimator_attacks_a_classifier(pyplot):
    X, y = digits(60)
    model = digits_pipeline()
    attack = FGSMAttack(eps=0.1)
    draw = AdversarialExamplesDisplay.from_estimator
    expected = draw(aim(attack, model, X, y), X, y)
    display = draw(model, X, y, attack=attack)
    np.testing.assert_array_equal(display.X_adv, expected.X_adv)
    pgd = aim(PGDAttack(random_state=0), model, X, y)
    expected = AdversarialExamplesDisplay.from_estimator(pgd, X, y)
    display = AdversarialExamplesDisplay.from_estimator(model, X, y)
    np.testing.assert_array_equal(display.X_adv, expected.X_adv)
    with pytest.raises(ValueError, match="'attack' parameter goes with a classifier"):
        AdversarialExamplesDisplay.from_estimator(pgd, X, y, attack=attack)


def test_images_in_their_own_shape_are_drawn(pyplot):
    images = np.random.RandomState(0).rand(2, 3, 4, 5)
    display = AdversarialExamplesDisplay(images, images + 0.1, [0, 1], [1, 0]).plot()
    shown = display.axes_[1, 0].images[0].get_array()
    low, high = images.min(), images.max() + 0.1
    expected = (images[1].transpose(1, 2, 0) - low) / (high - low)
    np.testing.assert_allclose(shown, expected)
