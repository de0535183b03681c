"""
Truncated singular value decomposition of a fully connected layer (Girshick 2015, section 3.1).

W (u x v) becomes U (u x t) and S V^T (t x v), from uv multiplications to t (u + v): two layers, the first without bias.
"""

import torch
from torch import nn


def factored(layer: nn.Linear, rank: int) -> nn.Sequential:
    """The two layers that stand for layer, the best of that rank. Raises ValueError if it has no such rank."""
    most = min(layer.in_features, layer.out_features)
    if not 1 <= rank <= most:
        raise ValueError(f"rank {rank}: a layer {layer.in_features} -> {layer.out_features} has ranks 1 to {most}")
    first = nn.Linear(layer.in_features, rank, bias=False)
    second = nn.Linear(rank, layer.out_features)
    if not layer.weight.is_meta:
        with torch.no_grad():
            left, singular, right = torch.linalg.svd(layer.weight, full_matrices=False)
            first.weight.copy_(singular[:rank, None] * right[:rank])
            second.weight.copy_(left[:, :rank])
            second.bias.copy_(layer.bias)
    return nn.Sequential(first, second)
