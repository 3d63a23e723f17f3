"""A small network of PyTorch's, trained on folders of pictures and written as an ONNX file.

Usage: train.py PICTURES FOLDER: writes FOLDER/net.onnx, and FOLDER/expected.json with the log-probabilities it gives.
"""
import json
import pathlib
import sys

import numpy
import torch
from PIL import Image
from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU6(),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=False),
            nn.BatchNorm2d(2 * channels), nn.ReLU6(),
            nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return x + self.body(x)


def network(classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Block(8),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Block(16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))


def read(file, size):
    pixels = numpy.asarray(Image.open(file).convert("RGB").resize((size, size), Image.BILINEAR), dtype=numpy.float32)
    return torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(2, 0, 1)


def main(pictures, folder):
    torch.manual_seed(1)
    size = Image.open(next(pictures.rglob("*.png"))).width
    names = sorted(f.name for f in pictures.iterdir() if f.is_dir())
    files = [(file, i) for i, name in enumerate(names) for file in sorted((pictures / name).glob("*.png"))]
    images, labels = torch.stack([read(file, size) for file, _ in files]), torch.tensor([i for _, i in files])
    net = network(len(names))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(30):
        for part in torch.randperm(len(files)).split(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[part]), labels[part]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        logits = net(images)
    print(f"PyTorch: {100 * (logits.argmax(1) == labels).float().mean():.1f} % of {len(files)} pictures right")
    torch.onnx.export(net, images[:1], str(folder / "net.onnx"), input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "batch"}})
    expected = {str(file): row.tolist() for (file, _), row in zip(files, logits.log_softmax(1))}
    (folder / "expected.json").write_text(json.dumps(expected))


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
