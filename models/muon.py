# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Muon: momentum whose update of a matrix is made orthogonal, AdamW for all else.

Small models learn in markedly fewer steps with it than with AdamW alone.
"""

import math

import torch


def orthogonal(g, steps=5):
    """The nearest (semi-)orthogonal matrices to g [..., m, n], roughly, by Newton-Schulz iteration."""
    x = g.to(torch.bfloat16)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.transpose(-1, -2)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * (square @ square)) @ x
    return x if wide else x.transpose(-1, -2)


class Muon(torch.optim.Optimizer):
    """Stacked matrices [..., m, n] are updated each by itself, by as much as AdamW would."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(average, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.to(p.dtype), alpha=-group["lr"] * 0.2 * math.sqrt(max(p.shape[-2:])))
