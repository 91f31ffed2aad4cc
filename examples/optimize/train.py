"""Trains a small network on handwritten digits with plain torch and saves what Servemesh is given.

`python examples/optimize/train.py [FOLDER]` writes `digits.pt2`, the program, and `digits.npz`, rows that it has not
seen. Nothing of Servemesh is imported here.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

TRAINED_ROWS = 1_000
EPOCHS, BATCH_ROWS = 8, 50


class Reader(nn.Module):
    """Reads a digit: FP32 [rows, 1, 8, 8], 0 to 1, to scores of ten classes. The argument's name is the input's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 16, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores."""
        scores: Tensor = self.layers(image)
        return scores


def main(folder: Path) -> None:
    """Train on some of the digits; keep the others for Servemesh to measure on."""
    torch.manual_seed(0)
    bunch = load_digits()
    images, digits = (bunch.images[:, None] / 16).astype(np.float32), bunch.target
    order = np.random.default_rng(0).permutation(len(images))
    known, unseen = order[:TRAINED_ROWS], order[TRAINED_ROWS:]
    reader = Reader()
    train(reader, torch.from_numpy(images[known]), torch.from_numpy(digits[known]))
    with warnings.catch_warnings(action="ignore"):
        example, rows = (torch.from_numpy(images[:2]),), torch.export.Dim("rows")
        program = torch.export.export(reader.eval(), example, dynamic_shapes={"image": {0: rows}})
        torch.export.save(program, folder / "digits.pt2")
    np.savez(folder / "digits.npz", image=images[unseen], digit=digits[unseen])
    np.save(folder / "digit.npy", images[unseen[:1]])
    print(f"{folder / 'digits.pt2'}: trained on {len(known)} digits; digits.npz has {len(unseen)} others")  # noqa: T201


def train(reader: nn.Module, images: Tensor, digits: Tensor) -> None:
    """Fit the network."""
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH_ROWS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(reader(images[rows]), digits[rows]).backward()
            optimizer.step()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
