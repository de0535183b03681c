"""The layers after the pooled features: fc6, fc7 and the class scores, as AlexNet, ZF and VGG-16 end in."""

import torch
from torch import Tensor, nn

HIDDEN = 4096  # of the papers' networks
_DROPOUT = 0.5


class RegionLayers(nn.Module):
    """(R, F) pooled features -> fc7 (R, hidden) -> scores (R, class_count + 1), the first of background."""

    def __init__(self, pooled: int, hidden: int, class_count: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.fc6, self.fc7 = nn.Linear(pooled, hidden), nn.Linear(hidden, hidden)
        self.scores = nn.Linear(hidden, class_count + 1)
        self.dropout = nn.Dropout(_DROPOUT)

    def features(self, pooled: Tensor) -> Tensor:
        """fc7 after its rectifier."""
        hidden = self.dropout(torch.relu(self.fc6(pooled)))
        return self.dropout(torch.relu(self.fc7(hidden)))

    def forward(self, pooled: Tensor) -> Tensor:
        return self.scores(self.features(pooled))
