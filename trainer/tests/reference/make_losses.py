"""Losses on one batch of embeddings, with their gradients, in plain PyTorch: losses.safetensors beside this file.

python make_losses.py        (torch, safetensors)

Two of the sketches are of one photo. Distances are mean squared differences.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(7)
B, D = 6, 24
sketches = torch.randn(B, D)
positives = 0.6 * sketches + 0.8 * torch.randn(B, D)
photos = torch.tensor([3, 8, 1, 8, 0, 5])
positives[3] = positives[1] + 0.05 * torch.randn(D)
MARGIN, T = 0.3, 0.1
out = {"sketches": sketches, "positives": positives, "photos": photos.float()}


def d(a, b):
    return ((a[:, None] - b[None]) ** 2).mean(2)


def triplet(s, p, semi_hard):
    losses = []
    for i in range(B):
        own = ((s[i] - p[i]) ** 2).mean()
        others = [((s[i] - p[j]) ** 2).mean() for j in range(B) if photos[j] != photos[i]]
        if semi_hard:
            farther = [x for x in others if x > own]
            negative = min(farther) if farther else max(others)
        else:
            negative = min(others)
        losses.append(F.relu(own - negative + MARGIN))
    losses = torch.stack(losses)
    return losses.mean(), (losses > 0).float().mean()


def contrastive(s, p, same_modality):
    total, wrong = 0.0, 0
    for of, to, is_sketch in ((s, p, True), (p, s, False)):
        for i in range(B):
            logits = [-((of[i] - to[i]) ** 2).mean() / T]
            for j in range(B):
                if photos[j] == photos[i]:
                    continue
                logits.append(-((of[i] - to[j]) ** 2).mean() / T)
            if is_sketch:
                wrong += int(torch.stack(logits).argmax() != 0)
            if same_modality:
                logits += [-((of[i] - of[j]) ** 2).mean() / T for j in range(B) if photos[j] != photos[i]]
            total = total + F.cross_entropy(torch.stack(logits)[None], torch.tensor([0])) / (2 * B)
    return total, torch.tensor(wrong / B)


for name, of in {
    "hardest": lambda s, p: triplet(s, p, False),
    "semi_hard": lambda s, p: triplet(s, p, True),
    "contrastive": lambda s, p: contrastive(s, p, False),
    "contrastive_same_modality": lambda s, p: contrastive(s, p, True),
}.items():
    s, p = sketches.clone().requires_grad_(), positives.clone().requires_grad_()
    loss, active = of(s, p)
    loss.backward()
    out |= {f"{name}.loss": loss.detach(), f"{name}.active": active, f"{name}.grad.sketches": s.grad,
            f"{name}.grad.positives": p.grad}

# Distillation: all images of the batch, a teacher of the same width and one of another.
embeddings = torch.cat([sketches, positives])
same_width, other_width = torch.randn(2 * B, D), torch.randn(2 * B, 9)
out |= {"embeddings": embeddings, "teacher.embeddings": same_width, "teacher.relations": other_width}


def of_embeddings(e):
    return (1 - F.cosine_similarity(e, same_width)).mean()


def of_relations(e):
    def relations(x):
        distances = torch.stack([(x[i] - x[j]).norm() for i in range(2 * B) for j in range(2 * B) if i != j])
        return distances / distances.mean()

    return F.huber_loss(relations(e), relations(other_width))


for name, of in {"distil_embeddings": of_embeddings, "distil_relations": of_relations}.items():
    e = embeddings.clone().requires_grad_()
    loss = of(e)
    loss.backward()
    out |= {f"{name}.loss": loss.detach(), f"{name}.grad": e.grad}

save_file({key: value.contiguous() for key, value in out.items()}, pathlib.Path(__file__).with_name("losses.safetensors"))
