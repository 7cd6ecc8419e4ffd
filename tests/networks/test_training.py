"""The one training loop, against the loop that anyone would write by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.networks import (
    AutogradStep,
    Epoch,
    PerceptronStep,
    Plateau,
    Schedule,
    train,
)
from robustkit.networks._training import epoch_batches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def schedule(max_epochs=2, batch_size=16, **settings):
    return Schedule(max_epochs, batch_size, generator(), **settings)


def small_module(seed=0):
    with seeded_torch(seed):
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def data(n_samples=50, seed=0):
    rng = np.random.RandomState(seed)
    X = torch.from_numpy(rng.normal(size=(n_samples, 5)).astype(np.float32))
    return X, torch.from_numpy(rng.randint(3, size=n_samples))


def weights(module):
    return torch.cat([w.detach().flatten() for w in module.parameters()])


class Recorder:
    """Writes down how it is called."""

    def __init__(self):
        self.calls = []

    def perturb_module(self, module, X, y):
        self.calls.append(("perturb_module", module.training, X.shape, y.shape))
        return X + 1

    def penalty(self, module, X, y):
        self.calls.append(("penalty", module.training, X.shape, y.shape))
        return sum((w**2).sum() for w in module.parameters())

    def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
        self.calls.append(("begin", module.training, X.shape, epoch, max_epochs))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_train_equals_a_plain_training_loop(weight_decay, label_smoothing):
    X, y = data()
    ours, plain = small_module(), small_module()
    step = AutogradStep(
        ours, lr=0.01, weight_decay=weight_decay, label_smoothing=label_smoothing
    )
    epochs = train(ours, X, y, stepper=step, schedule=schedule(3))

    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, weight_decay=weight_decay)
    criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    rng, losses = generator(), []
    for _ in range(3):
        total = 0.0
        order = torch.randperm(50, generator=rng)
        for start in range(0, 50, 16):
            batch = order[start : start + 16]
            loss = criterion(plain(X[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / 50)

    torch.testing.assert_close(weights(ours), weights(plain))
    assert [epoch.loss for epoch in epochs] == pytest.approx(losses, rel=1e-5)
    assert [epoch.number for epoch in epochs] == [0, 1, 2]


@given(st.integers(1, 60), st.integers(1, 70), st.booleans(), st.integers(0, 1000))
def test_epoch_batches_contain_each_sample_once(n_samples, batch_size, join_last, seed):
    batches = epoch_batches(n_samples, batch_size, generator(seed), join_last=join_last)
    assert sorted(torch.cat(batches).tolist()) == list(range(n_samples))
    assert all(len(batch) == batch_size for batch in batches[:-2])
    lone = n_samples % batch_size == 1 and n_samples > 1 and batch_size > 1
    assert len(batches[-1]) <= batch_size + (join_last and lone)
    assert not (join_last and lone and len(batches[-1]) == 1)


def test_batch_norm_never_sees_a_batch_of_one_sample():
    X, y = data(17)
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    seen = []
    module.register_forward_hook(lambda m, inputs, out: seen.append(len(inputs[0])))
    step = AutogradStep(module)
    train(module, X, y, stepper=step, schedule=schedule(1, 8))
    assert seen == [8, 9]


@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [
        ("adam", torch.optim.Adam),
        (
            "sgd",
            lambda w, **kw: torch.optim.SGD(w, momentum=0.9, nesterov=True, **kw),
        ),
        (torch.optim.AdamW, torch.optim.AdamW),
    ],
)
def test_autograd_step_optimizers_equal_torch(optimizer, reference):
    X, y = data()
    ours, plain = small_module(), small_module()
    step = AutogradStep(ours, optimizer=optimizer, lr=0.01, weight_decay=0.01)
    other = reference(plain.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(5):
        step.step(X, y)
        other.zero_grad()
        nn.functional.cross_entropy(plain(X), y).backward()
        other.step()
    torch.testing.assert_close(weights(ours), weights(plain))


def test_autograd_step_returns_the_loss_before_the_step():
    X, y = data()
    module = small_module()
    expected = nn.functional.cross_entropy(module(X), y)
    loss = AutogradStep(module, lr=0.1).step(X, y)
    torch.testing.assert_close(loss, expected.detach())
    assert loss.shape == ()
    assert not loss.requires_grad


def test_autograd_step_continues_from_a_state_with_new_settings():
    X, y = data()
    whole, parts = small_module(), small_module()
    step = AutogradStep(whole, lr=0.1)
    for lr in (0.1, 0.1, 0.01, 0.01):
        step.optimizer.param_groups[0]["lr"] = lr
        step.step(X, y)
    first = AutogradStep(parts, lr=0.1)
    first.step(X, y), first.step(X, y)
    second = AutogradStep(parts, lr=0.01)
    second.load_state_dict(first.state_dict())
    second.step(X, y), second.step(X, y)
    torch.testing.assert_close(weights(whole), weights(parts))


def test_frozen_parameter_with_momentum_does_not_change():
    X, y = data()
    module = small_module()
    step = AutogradStep(module, lr=0.1)
    step.step(X, y)
    module[2].requires_grad_(False)
    before = module[2].weight.clone(), module[0].weight.clone()
    step.step(X, y)
    assert torch.equal(module[2].weight, before[0])
    assert not torch.equal(module[0].weight, before[1])


def test_adversary_and_regularizer_are_called_as_documented():
    X, y = data(20)
    module, adversary, regularizer = small_module(), Recorder(), Recorder()
    step = AutogradStep(module, regularizer=regularizer)
    train(
        module,
        X,
        y,
        stepper=step,
        schedule=schedule(2, 16),
        adversary=adversary,
        regularizer=regularizer,
    )
    big, small = (
        (torch.Size([16, 5]), torch.Size([16])),
        (
            torch.Size([4, 5]),
            torch.Size([4]),
        ),
    )
    for recorder, name, training in [
        (adversary, "perturb_module", False),
        (regularizer, "penalty", True),
    ]:
        assert recorder.calls == [
            call
            for epoch in range(2)
            for call in [
                ("begin", False, X.shape, epoch, 2),
                (name, training, *big),
                (name, training, *small),
            ]
        ]
    assert not module.training


def test_train_uses_the_batches_of_the_adversary():
    X, y = data()
    shifted, attacked = small_module(), small_module()
    train(shifted, X + 1, y, stepper=AutogradStep(shifted), schedule=schedule())
    train(
        attacked,
        X,
        y,
        stepper=AutogradStep(attacked),
        schedule=schedule(),
        adversary=Recorder(),
    )
    assert torch.equal(weights(shifted), weights(attacked))


def test_penalty_of_regularizer_is_differentiated():
    X, y = data()
    plain, shrunk = small_module(), small_module()
    for module, regularizer in [(plain, None), (shrunk, Recorder())]:
        step = AutogradStep(module, lr=0.01, regularizer=regularizer)
        for _ in range(50):
            step.step(X, y)
    assert weights(shrunk).norm() < weights(plain).norm() / 2


def test_parameters_frozen_by_a_regularizer_are_unfrozen_at_the_end():
    class Freezer(Recorder):
        def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
            module[2].requires_grad_(epoch < 1)
            self.calls.append(module[2].weight.detach().clone())

    X, y = data()
    module, freezer = small_module(), Freezer()
    train(
        module,
        X,
        y,
        stepper=AutogradStep(module),
        schedule=schedule(3, 16),
        regularizer=freezer,
    )
    start, after_first, after_second = freezer.calls
    assert not torch.equal(start, after_first)
    assert torch.equal(after_first, after_second)
    assert torch.equal(after_second, module[2].weight)
    assert all(weight.requires_grad for weight in module.parameters())


def test_failing_regularizer_leaves_nothing_frozen():
    class Failing(Recorder):
        def on_epoch_begin(self, module, X, y, *, epoch, max_epochs):
            module.requires_grad_(False)
            raise RuntimeError("no regions")

    X, y = data()
    module = small_module()
    with pytest.raises(RuntimeError, match="no regions"):
        train(
            module,
            X,
            y,
            stepper=AutogradStep(module),
            schedule=schedule(1, 16),
            regularizer=Failing(),
        )
    assert all(weight.requires_grad for weight in module.parameters())


@pytest.mark.parametrize("make_step", [AutogradStep, PerceptronStep])
def test_training_within_autocast_uses_the_weights_of_each_step(make_step):
    X, y = data(seed=1)
    logits, losses = [], []
    for keeps_weights in (True, False):
        module = small_module()
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=keeps_weights):
            epochs = train(
                module,
                X,
                y,
                stepper=make_step(module, lr=0.1),
                schedule=schedule(6, n_iter_no_change=2),
                validation=(X[:20], y[:20]),
            )
            # Those of the best epoch, which was not the last.
            assert epochs[-1].score < max(epoch.score for epoch in epochs)
            logits.append(module(X))
        losses.append([epoch.loss for epoch in epochs])
    assert losses[0] == losses[1]
    assert torch.equal(*logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mean_loss_of_an_epoch_in_half_precision(dtype):
    module = small_module().to(dtype)
    X, y = data()
    X, wide = X.to(dtype), small_module().to(dtype)
    (epoch,) = train(
        module, X, y, stepper=AutogradStep(module), schedule=schedule(1, 50)
    )
    order = torch.randperm(50, generator=generator())
    loss = nn.functional.cross_entropy(wide(X[order]), y[order])
    assert type(epoch.loss) is float
    assert epoch.loss == loss.item()


class ScriptedStep:
    """Sets the weights to what a script says, epoch by epoch."""

    def __init__(self, module, script):
        self.module, self.script = module, iter(script)

    @torch.no_grad()
    def step(self, inputs, targets):
        self.module.bias.fill_(0.0)[next(self.script)] = 1.0
        return torch.tensor(0.5)


def constant_classifier():
    module = nn.utils.skip_init(nn.Linear, 2, 3)
    nn.init.zeros_(module.weight)
    return module


def test_early_stopping_keeps_the_best_weights_and_stops():
    # Class 0 is predicted, then 1, then 2; most of the validation samples are of 1.
    module = constant_classifier()
    X, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    validation = torch.zeros(10, 2), torch.tensor([0, 0, 1, 1, 1, 1, 1, 2, 2, 2])
    epochs = train(
        module,
        X,
        y,
        stepper=ScriptedStep(module, [0, 1, 2, 1, 2, 2]),
        schedule=schedule(6, 4, n_iter_no_change=3),
        validation=validation,
    )
    assert [epoch.score for epoch in epochs] == [0.2, 0.5, 0.3, 0.5, 0.3]
    assert module.bias.tolist() == [0.0, 1.0, 0.0]


def test_progress_is_told_of_every_epoch_and_may_stop():
    class Progress:
        def __init__(self):
            self.heard = []

        def epoch_begins(self):
            self.heard.append("begins")

        def epoch_ends(self, epoch):
            self.heard.append(epoch)
            return epoch.number == 1

    module, progress = constant_classifier(), Progress()
    X, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    train(
        module,
        X,
        y,
        stepper=ScriptedStep(module, [0, 0, 0]),
        schedule=schedule(3, 4),
        progress=progress,
    )
    assert progress.heard == ["begins", Epoch(0, 0.5), "begins", Epoch(1, 0.5)]


def test_train_leaves_the_global_torch_stream_alone():
    before = torch.get_rng_state()
    X, y = data()
    module = small_module()
    train(
        module,
        X,
        y,
        stepper=AutogradStep(module),
        schedule=schedule(1, 7),
    )
    assert torch.equal(torch.get_rng_state(), before)


@given(
    values=st.lists(st.floats(-3, 3) | st.just(float("nan")), max_size=30),
    patience=st.integers(1, 4),
    tol=st.sampled_from([0.0, 0.5]),
)
def test_plateau_is_reached_after_so_many_numbers_without_an_improvement(
    values, patience, tol
):
    plateau = Plateau(patience, tol)
    for k, value in enumerate(values):
        is_better = [
            values[i] < min((v for v in values[:i] if v == v), default=np.inf) - tol
            for i in range(k + 1)
        ]
        is_reached = k + 1 >= patience and not any(is_better[-patience:])
        assert plateau.is_reached(value) == is_reached
