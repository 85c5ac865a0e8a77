"""Update rules written down from their papers, tensor by tensor, to hold implementations against.

Each is a generator function of its settings: it is sent the parameters and their gradients, two lists of
tensors, and yields what to add to the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import torch

Tensors = list[torch.Tensor]
Rule = Generator[Tensors, tuple[Tensors, Tensors], None]


def each(update: Callable[..., torch.Tensor]) -> Callable[..., Rule]:
    """Turn a rule for one tensor, `update(state, t, w, g, **settings)`, into one for a list of them."""

    def rule(**settings: float) -> Rule:
        states: list[dict[str, torch.Tensor]] = []
        updates: Tensors = []
        t = 0
        while True:
            weights, gradients = yield updates
            states = states or [{} for _ in weights]
            t += 1
            updates = [
                update(state, t, w, g, **settings)
                for state, w, g in zip(states, weights, gradients, strict=True)
            ]

    return rule


def mean(
    state: dict[str, torch.Tensor], key: str, beta: float, value: torch.Tensor, weight: float | None = None
) -> torch.Tensor:
    """Take a value into an exponential moving average that begins at 0, with a weight of 1 - beta."""
    own = 1 - beta if weight is None else weight
    state[key] = beta * state.get(key, torch.zeros_like(value)) + own * value
    return state[key]


@each
def sgd(state, t, w, g, lr, weight_decay):
    return -lr * (g + weight_decay * w)


@each
def heavy_ball(state, t, w, g, lr, momentum):
    """Polyak 1964: the difference of the last two points, no velocity."""
    before = state.get("before", w)
    state["before"] = w.clone()
    return -lr * g + momentum * (w - before)


@each
def nesterov(state, t, w, g, lr, momentum):
    """Sutskever et al. 2013, at the point looked ahead to, where the gradient is taken: w + momentum · v."""
    before = state.get("v", torch.zeros_like(w))
    v = momentum * before - lr * g
    state["v"] = v
    return (v + momentum * v) - momentum * before


@each
def adam(state, t, w, g, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decay=0.0):
    """Kingma & Ba 2015; `weight_decay` in the gradient, `decay` decoupled (Loshchilov & Hutter 2019)."""
    g = g + weight_decay * w
    m = mean(state, "m", beta1, g) / (1 - beta1**t)
    v = mean(state, "v", beta2, g * g) / (1 - beta2**t)
    return -lr * (m / (v.sqrt() + eps) + decay * w)


@each
def nadam(state, t, w, g, lr, beta1, beta2, eps, momentum_decay):
    """Dozat 2016, with his schedule of the momentum."""

    def scheduled(t):
        return beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    product = math.prod(scheduled(i) for i in range(1, t + 1))
    m, v = mean(state, "m", beta1, g), mean(state, "v", beta2, g * g) / (1 - beta2**t)
    ahead = scheduled(t + 1) * m / (1 - product * scheduled(t + 1)) + (1 - scheduled(t)) * g / (1 - product)
    return -lr * ahead / (v.sqrt() + eps)


@each
def radam(state, t, w, g, lr, beta1, beta2, eps):
    """Liu et al. 2020, algorithm 2; 5 terms of the average, as in the authors' code."""
    m, v = mean(state, "m", beta1, g) / (1 - beta1**t), mean(state, "v", beta2, g * g)
    most = 2 / (1 - beta2) - 1
    rho = most - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return -lr * m
    rectified = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return -lr * rectified * m * math.sqrt(1 - beta2**t) / (v.sqrt() + eps)


@each
def adamax(state, t, w, g, lr, beta1, beta2, eps):
    m = mean(state, "m", beta1, g)
    state["u"] = torch.maximum(beta2 * state.get("u", torch.zeros_like(g)), g.abs() + eps)
    return -lr / (1 - beta1**t) * m / state["u"]


@each
def adagrad(state, t, w, g, lr, eps):
    return -lr * g / (mean(state, "sum", 1.0, g * g, 1.0).sqrt() + eps)


@each
def adadelta(state, t, w, g, lr, rho, eps):
    v = mean(state, "v", rho, g * g)
    update = (state.get("updates", torch.zeros_like(g)) + eps).sqrt() / (v + eps).sqrt() * g
    mean(state, "updates", rho, update * update)
    return -lr * update


@each
def rmsprop(state, t, w, g, lr, alpha, eps, momentum):
    update = g / (mean(state, "v", alpha, g * g).sqrt() + eps)
    return -lr * mean(state, "buffer", momentum, update, 1.0)


@each
def adafactor(state, t, w, g, lr, beta2_decay, d):
    """Shazeer & Stern 2018, algorithm 4, with a rate of at most `lr`."""
    beta = 1 - t**beta2_decay
    if g.dim() > 1:
        rows = mean(state, "rows", beta, (g * g).mean(-1, keepdim=True))
        columns = mean(state, "columns", beta, (g * g).mean(-2, keepdim=True))
        v = rows * columns / rows.mean(-2, keepdim=True)
    else:
        v = mean(state, "v", beta, g * g)
    update = g / v.sqrt()
    update = update / max(1.0, rms(update) / d)
    return -min(lr, t**-0.5) * max(1e-3, rms(w)) * update


def rms(tensor: torch.Tensor) -> float:
    return tensor.square().mean().sqrt().item()


@each
def lamb(state, t, w, g, lr, beta1, beta2, eps, weight_decay):
    """You et al. 2020, algorithm 2, without bias correction, norms of weights up to 10."""
    update = mean(state, "m", beta1, g) / (mean(state, "v", beta2, g * g).sqrt() + eps) + weight_decay * w
    return -lr * min(w.norm().item(), 10.0) / (update.norm() + eps) * update


@each
def lars(state, t, w, g, lr, momentum, trust_coefficient, weight_decay):
    """You, Gitman & Ginsburg 2017, algorithm 1; vectors without."""
    if w.dim() > 1:
        ratio = trust_coefficient * w.norm() / (g.norm() + weight_decay * w.norm())
        g = ratio * (g + weight_decay * w)
    return -lr * mean(state, "v", momentum, g, 1.0)


@each
def lion(state, t, w, g, lr, beta1, beta2, weight_decay):
    """Chen et al. 2023, algorithm 2."""
    m = state.get("m", torch.zeros_like(g))
    update = (beta1 * m + (1 - beta1) * g).sign()
    mean(state, "m", beta2, g)
    return -lr * (update + weight_decay * w)


@each
def ademamix(state, t, w, g, lr, beta1, beta2, beta3, alpha, eps, weight_decay):
    """Pagliardini, Ablin & Grangier 2025, algorithm 1, without warm-up."""
    m, slow = mean(state, "m", beta1, g) / (1 - beta1**t), mean(state, "slow", beta3, g)
    v = mean(state, "v", beta2, g * g) / (1 - beta2**t)
    return -lr * ((m + alpha * slow) / (v.sqrt() + eps) + weight_decay * w)


@each
def mars(state, t, w, g, lr, beta1, beta2, gamma, eps, lr_1d):
    """Yuan et al. 2024, algorithm 2, the last gradient in the place of one at the last weights."""
    if w.dim() < 2:
        m, v = mean(state, "m", 0.9, g) / (1 - 0.9**t), mean(state, "v", 0.95, g * g) / (1 - 0.95**t)
        return -lr_1d * (m / (v.sqrt() + eps))
    c = g + gamma * beta1 / (1 - beta1) * (g - state.get("last", torch.zeros_like(g)))
    state["last"] = g.clone()
    c = c / max(1.0, c.norm().item())
    m, v = mean(state, "m", beta1, c) / (1 - beta1**t), mean(state, "v", beta2, c * c) / (1 - beta2**t)
    return -lr * m / (v.sqrt() + eps)


@each
def adopt(state, t, w, g, lr, beta1, beta2, eps, weight_decay):
    """Taniguchi et al. 2024, algorithm 2: the first gradient only begins the mean of squares."""
    if t == 1:
        state["v"] = g * g
        return -lr * weight_decay * w
    bound = (t - 1) ** 0.25
    m = mean(state, "m", beta1, (g / state["v"].sqrt().clamp(min=eps)).clamp(-bound, bound))
    mean(state, "v", beta2, g * g)
    return -lr * (m + weight_decay * w)


def prodigy(lr: float, beta1: float, beta2: float, d0: float, eps: float) -> Rule:
    """Mishchenko & Defazio 2024, algorithm 4: one distance for all parameters."""
    weights, g = yield []
    start = [w.clone() for w in weights]
    m, v, s = ([torch.zeros_like(w) for w in weights] for _ in range(3))
    r, d, root = 0.0, d0, math.sqrt(beta2)
    while True:
        m = [beta1 * m_ + (1 - beta1) * d * g_ for m_, g_ in zip(m, g, strict=True)]
        v = [beta2 * v_ + (1 - beta2) * d * d * g_ * g_ for v_, g_ in zip(v, g, strict=True)]
        moved = sum((g_ * (x - w)).sum() for g_, x, w in zip(g, start, weights, strict=True))
        # The authors' code leaves 1 - sqrt(beta2) out of both sums: it cancels.
        r = root * r + lr * d * d / d0 * float(moved)
        s = [root * s_ + lr * d * d / d0 * g_ for s_, g_ in zip(s, g, strict=True)]
        ours, d = d, max(d, r / sum(s_.abs().sum().item() for s_ in s))
        update = [-ours * lr * m_ / (v_.sqrt() + d * eps) for m_, v_ in zip(m, v, strict=True)]
        weights, g = yield update


def muon(lr: float, momentum: float) -> Rule:
    """Jordan et al. 2024, in the precision of its code."""
    return each(_muon)(lr=lr, momentum=momentum)


def _muon(state, t, w, g, lr, momentum):
    shape, g = g.shape, g.flatten(1)
    buffer = mean(state, "m", momentum, g)
    x = ((1 - momentum) * g + momentum * buffer).bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    x = x.T if tall else x
    return -lr * math.sqrt(max(1.0, x.shape[0] / x.shape[1])) * x.to(w.dtype).reshape(shape)


@each
def soap(state, t, w, g, lr, beta1, beta2, eps, weight_decay, precondition_frequency):
    """Vyas et al. 2025, algorithm 3, for matrices; vectors get Adam. Its first step only looks."""
    if g.dim() < 2:
        left, right = torch.ones(1, 1, dtype=g.dtype), torch.eye(len(g), dtype=g.dtype)
    else:
        left, right = state.get("left"), state.get("right")
    g_ = g if g.dim() > 1 else g[None]
    if t == 1:
        if g.dim() > 1:
            state["L"], state["R"] = (1 - beta2) * g_ @ g_.T, (1 - beta2) * g_.T @ g_
            for name, side in (("left", "L"), ("right", "R")):
                state[name] = torch.linalg.eigh(state[side]).eigenvectors.flip(1)
        return torch.zeros_like(w)
    t -= 1
    m = mean(state, "m", beta1, g_)
    v = mean(state, "v", beta2, (left.T @ g_ @ right) ** 2)
    rotated = left @ ((left.T @ m @ right) / (v.sqrt() + eps)) @ right.T
    update = -lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) * rotated.reshape(w.shape)
    if g.dim() > 1:
        mean(state, "L", beta2, g_ @ g_.T)
        mean(state, "R", beta2, g_.T @ g_)
        if t % precondition_frequency == 0:
            for name, side, dim in (("left", "L", 0), ("right", "R", 1)):
                power = state[side] @ state[name]
                order = (state[name] * power).sum(0).argsort(descending=True)
                state["v"] = state["v"].index_select(dim, order)
                state[name] = torch.linalg.qr(power[:, order].float())[0].to(g.dtype)
    # The package decays the weights after the update.
    return update - lr * weight_decay * (w + update)


@each
def shampoo(state, t, w, g, lr, beta1, beta2, matrix_eps, period, start):
    """Gupta, Koren & Singer 2018 with the length of SGD's step (Anil et al. 2020), Nesterov's momentum."""
    update = g
    if g.dim() > 1:
        for dim, size in enumerate(g.shape):
            unfolded = g.movedim(dim, 0).reshape(size, -1)
            covariance = state.get(f"C{dim}", matrix_eps * torch.eye(size, dtype=g.dtype))
            state[f"C{dim}"] = beta2 * covariance + (1 - beta2) * unfolded @ unfolded.T
            if t % period == 0:
                values, vectors = torch.linalg.eigh(state[f"C{dim}"])
                values = values + matrix_eps * values.max()
                state[f"P{dim}"] = vectors @ torch.diag(values ** (-1 / (2 * g.dim()))) @ vectors.T
            root = state.get(f"P{dim}", torch.eye(size, dtype=g.dtype))
            update = torch.tensordot(update, root, dims=([0], [0]))
        update = update * g.norm() / update.norm()
    m = mean(state, "m", beta1, update, 1.0)
    plain = mean(state, "plain", beta1, g, 1.0)
    if t < start:
        return -lr * (g + beta1 * plain)
    return -lr * (update + beta1 * m)


@each
def sophia(state, t, w, g, lr, beta1, beta2, gamma, eps, weight_decay, update_period):
    """Liu et al. 2024, algorithms 1 and 3, of a loss whose Hessian is the diagonal `curvature`."""
    m = mean(state, "m", beta1, g)
    if (t - 1) % update_period == 0:
        noise = torch.randn_like(w)
        mean(state, "h", beta2, curvature(w) * noise * noise)
    clipped = (m / (gamma * state["h"]).clamp(min=eps)).clamp(-1, 1)
    return -lr * (weight_decay * w + clipped)


@each
def kron(state, t, w, g, lr, momentum):
    """Li 2018 with a triangular factor for each side of a matrix, a diagonal for a vector; in fp32.

    The factors are fitted by pairs of a gradient and noise, with a rate of 0.1.
    """
    m = (mean(state, "m", momentum, g) / (1 - momentum**t)).float()
    v = torch.randn(m.shape)
    if m.dim() < 2:
        q = state.get("q", torch.ones_like(m))
        ours, noise = (q * m) ** 2, (v / q) ** 2
        q = state["q"] = q - 0.1 * q * (ours - noise) / (ours + noise).max()
        update = q * q * m
    else:
        left, right = state.get("left", torch.eye(m.shape[0])), state.get("right", torch.eye(m.shape[1]))
        a, b = left @ m @ right.T, left.T.inverse() @ v @ right.inverse()
        state["left"] = left - 0.1 * triangle(a @ a.T, b @ b.T) @ left
        state["right"] = right - 0.1 * triangle(a.T @ a, b.T @ b) @ right
        update = state["left"].T @ state["left"] @ m @ state["right"].T @ state["right"]
    return -lr * (update * min(1.1 / (rms(update) + 1e-6), 1.0)).to(w.dtype)


def triangle(ours: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the upper triangle of a difference over a lower bound of the sum's largest eigenvalue."""
    total = ours + noise
    x = total[:, total.square().sum(0).argmax()] @ total
    return torch.triu(ours - noise) / ((x / x.norm()) @ total).norm()


def curvature(w: torch.Tensor) -> torch.Tensor:
    """Return the curvatures of a parameter's elements in the tests' loss, from 0.5 to 2."""
    return torch.linspace(0.5, 2.0, w.numel(), dtype=w.dtype).view_as(w)


def schedule_free(
    lr: float, beta1: float, beta2: float | None = None, eps: float = 1e-8, weight_decay: float = 0.0
) -> Generator[tuple[Tensors, Tensors], tuple[Tensors, Tensors], None]:
    """Defazio et al. 2024, equations 9 to 11: yields where gradients are taken, y, and the average, x."""
    weights, g = yield [], []
    z, x = [w.clone() for w in weights], [w.clone() for w in weights]
    v = [torch.zeros_like(w) for w in weights]
    y, t = weights, 0
    while True:
        t += 1
        for i, g_ in enumerate(g):
            step = g_
            if beta2 is not None:
                v[i] = beta2 * v[i] + (1 - beta2) * g_ * g_
                step = g_ / ((v[i] / (1 - beta2**t)).sqrt() + eps)
            z[i] = z[i] - lr * (step + weight_decay * y[i])
            x[i] = (1 - 1 / t) * x[i] + z[i] / t
        y = [(1 - beta1) * z_ + beta1 * x_ for z_, x_ in zip(z, x, strict=True)]
        _, g = yield y, x
