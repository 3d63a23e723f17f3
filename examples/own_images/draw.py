"""Draws the pictures of this folder: python3 draw.py (with Pillow)."""
import math
import pathlib
import random

from PIL import Image, ImageDraw

random.seed(1)
for shape in ("circle", "square", "triangle"):
    folder = pathlib.Path(__file__).parent / "pictures" / shape
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(40):
        width, height = random.randrange(32, 49), random.randrange(28, 41)
        dark, light = random.randrange(110), random.randrange(145, 256)
        back, front = (dark, light) if random.random() < 0.5 else (light, dark)
        colours = [min(255, max(0, grey + random.randrange(-40, 41))) for grey in (back,) * 3 + (front,) * 3]
        picture = Image.new("P", (width, height))
        picture.putpalette(colours)
        radius, turn = random.uniform(8, 12), random.uniform(-0.3, 0.3)
        x, y = width / 2 + random.uniform(-4, 4), height / 2 + random.uniform(-2, 2)
        corners = {"circle": 40, "square": 4, "triangle": 3}[shape]
        first = turn + (math.pi / 4 if shape == "square" else -math.pi / 2)
        points = [(x + radius * math.cos(first + 2 * math.pi * i / corners),
                   y + radius * math.sin(first + 2 * math.pi * i / corners)) for i in range(corners)]
        ImageDraw.Draw(picture).polygon(points, fill=1)
        picture.save(folder / f"{number:02}.png", bits=1, optimize=True)
