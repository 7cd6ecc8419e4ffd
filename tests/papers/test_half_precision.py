"""Half precision is a way to train, and changes nothing of what is measured."""

import torch

from papers.regions.half_precision import half_precision_cnn6
from robustkit.networks._architectures import cnn6

SHAPE = (1, 8, 8)


def both():
    """The network as it is, and trained at half precision, with the same weights."""
    networks = []
    for build in (cnn6, half_precision_cnn6):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            networks.append(build(64, 10, image_shape=SHAPE))
    return networks


def test_same_weights_and_in_eval_mode_the_same_logits():
    plain, half = both()
    for name, weight in plain.state_dict().items():
        assert torch.equal(half.state_dict()[name], weight)
    X = torch.linspace(0, 1, 5 * 64).reshape(5, 64)
    torch.testing.assert_close(half.eval()(X), plain.eval()(X), rtol=1e-5, atol=1e-6)


def test_trains_with_eight_bits_and_keeps_weights_and_gradients_whole():
    plain, half = both()
    X = torch.linspace(0, 1, 5 * 64).reshape(5, 64)
    exact, rounded = plain(X), half.train()(X)
    assert rounded.dtype == torch.float32
    # bfloat16 has eight bits, so a rounded product is off by 2^-9 at most; sixteen
    # layers and their sums may add a few of these, and some it must show.
    error = (rounded - exact).abs().max() / exact.abs().max()
    assert 1e-5 < error < 0.05
    rounded.sum().backward()
    for weight in half.parameters():
        assert weight.dtype == weight.grad.dtype == torch.float32
