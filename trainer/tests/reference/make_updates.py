"""Updates of a small network by each method, in PyTorch and 64 bits: updates.safetensors, which src/step.rs reads.

    pip install torch==2.11.0 numpy safetensors
    python make_updates.py

The network is that of src/network.rs's tests. For each case `<method>.<momentum>.<batch norm>` the file holds the
first step's gradient as the optimiser receives it (`gradient`) and what three steps on one batch change (`update`),
for each parameter; for meta_full also the exact gradient, by differentiating through the virtual step (`exact`).
"""

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

B, SIDE, WIDTH, K = 4, 16, 5, 6
MARGIN, MARGIN_NT = 0.1, 0.05
ALPHA, BETA = 0.7, 1.3
ETA_S, ETA_T = 0.05, 0.03
STEPS = 3

rng = np.random.default_rng(7)
shapes = {
    "conv1.weight": (8, 3, 3, 3), "conv1.bias": (8,),
    "bn1.weight": (8,), "bn1.bias": (8,), "bn1.running_mean": (8,), "bn1.running_var": (8,),
    "conv2.weight": (8, 1, 3, 3),
    "bn2.weight": (8,), "bn2.bias": (8,), "bn2.running_mean": (8,), "bn2.running_var": (8,),
    "bn3.weight": (8,), "bn3.bias": (8,), "bn3.running_mean": (8,), "bn3.running_var": (8,),
    "head.weight": (WIDTH, 8), "head.bias": (WIDTH,),
}


def draw(name, shape):
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if name.startswith("bn") and name.endswith("weight"):
        return rng.uniform(0.8, 1.2, shape)
    return rng.normal(0, 0.4, shape)


# Rounded to 32 bits, so that both sides begin with the same numbers.
start = {name: draw(name, shape).astype(np.float32) for name, shape in shapes.items()}
images = rng.normal(0, 1, (3 * B, 3, SIDE, SIDE)).astype(np.float32)
anchors = np.repeat(np.arange(B), K)
first = rng.integers(0, 2 * B, B * K)
second = (first + rng.integers(1, 2 * B, B * K)) % (2 * B)
signs = rng.choice([-1.0, 1.0], B * K)

X = torch.tensor(images, dtype=torch.float64)
TRAINED = [name for name in shapes if not name.endswith(("running_mean", "running_var"))]


def forward(p, stats, training):
    def norm(name, x):
        # The running statistics follow the batch when training; a copy takes them where they must not.
        return F.batch_norm(x, stats[f"{name}.running_mean"], stats[f"{name}.running_var"],
                            p[f"{name}.weight"], p[f"{name}.bias"], training, 0.1, 1e-5)
    x = F.conv2d(X, p["conv1.weight"], p["conv1.bias"], stride=2, padding=1)
    x = F.relu6(norm("bn1", x))
    y = norm("bn2", F.conv2d(x, p["conv2.weight"], None, padding=1, groups=8))
    x = F.relu(norm("bn3", x + y))
    x = F.max_pool2d(x, 3, 2, 1).mean((2, 3))
    return F.linear(x, p["head.weight"], p["head.bias"])


def d(a, b):
    return (a - b).square().mean(-1)


def l_fg(e):
    s, p, n = e[:B], e[B:2 * B], e[2 * B:]
    return F.relu(d(s, p) - d(s, n) + MARGIN).mean()


def l_nt(e):
    s, photos = e[:B], e[B:]
    r = torch.tensor(signs)
    return F.relu(r * (d(s[anchors], photos[first]) - d(s[anchors], photos[second])) + MARGIN_NT).mean()


def copied(stats):
    return {name: tensor.clone() for name, tensor in stats.items()}


def grad(loss, p, create_graph=False):
    return torch.autograd.grad(loss, [p[n] for n in TRAINED], create_graph=create_graph)


def moved(p, direction, by):
    return {n: (p[n].detach() + by * g.detach()).requires_grad_() for n, g in zip(TRAINED, direction)}


def gradient(method, p, stats, training):
    e = forward(p, stats, training)
    if method == "baseline":
        return grad(l_fg(e), p)
    if method == "multitask":
        return grad(ALPHA * l_fg(e) + BETA * l_nt(e), p)
    g_hat = grad(l_fg(e), p)
    tmp = moved(p, g_hat, -ETA_S)
    g_bar = grad(l_nt(forward(tmp, copied(stats), training)), tmp)
    if method == "meta_full":
        eps = 0.01 / torch.sqrt(sum(g.square().sum() for g in g_bar))
        at = [moved(p, g_bar, by) for by in (eps, -eps)]
        ahead, behind = [grad(l_fg(forward(q, copied(stats), training)), q) for q in at]
        g_bar = [g - ETA_S * (a - b) / (2 * eps) for g, a, b in zip(g_bar, ahead, behind)]
    return [h + ETA_T / ETA_S * b for h, b in zip(g_hat, g_bar)]


def exact_meta_full(p, stats, training):
    g_hat = grad(l_fg(forward(p, copied(stats), training)), p, create_graph=True)
    tmp = {n: p[n] - ETA_S * g for n, g in zip(TRAINED, g_hat)}
    through = grad(l_nt(forward(tmp, copied(stats), training)), p)
    return [h.detach() + ETA_T / ETA_S * b for h, b in zip(g_hat, through)]


def begin():
    tensors = {n: torch.tensor(v, dtype=torch.float64) for n, v in start.items()}
    p = {n: tensors[n].requires_grad_() for n in TRAINED}
    return p, {n: t for n, t in tensors.items() if n not in p}


out = {f"start.{n}": v for n, v in start.items()}
out["images"] = images
for name, values in [("anchors", anchors), ("first", first), ("second", second), ("signs", signs)]:
    out[name] = values.astype(np.float32)
for method in ["baseline", "multitask", "meta", "meta_full"]:
    for training in [False, True]:
        for momentum in [0.0, 0.9]:
            p, stats = begin()
            optimiser = torch.optim.SGD(p.values(), lr=ETA_S, momentum=momentum)
            case = f"{method}.{momentum}.{'training' if training else 'frozen'}"
            if method == "meta_full" and momentum == 0.0:
                for n, g in zip(TRAINED, exact_meta_full(p, stats, training)):
                    out[f"{case}.exact.{n}"] = g.numpy().astype(np.float32)
            for step in range(STEPS):
                g = gradient(method, p, stats, training)
                if step == 0:
                    for n, t in zip(TRAINED, g):
                        out[f"{case}.gradient.{n}"] = t.detach().numpy().astype(np.float32)
                for n, t in zip(TRAINED, g):
                    p[n].grad = t.detach()
                optimiser.step()
            for n in TRAINED:
                change = p[n].detach().numpy() - start[n].astype(np.float64)
                out[f"{case}.update.{n}"] = change.astype(np.float32)
e = forward(*begin(), False)
assert l_fg(e) > 0 and l_nt(e) > 0
save_file(out, "updates.safetensors")
