"""Classify pictures with a file that `namprune export RUN --format onnx` wrote. An example to copy.

python deploy_onnx.py FILE.onnx PICTURE...

Needs onnxruntime and numpy, and Pillow to decode and resize picture files, which onnxruntime cannot; neither PyTorch
nor namprune. Classes and preprocessing stand in the file itself. Pictures are brought to its size as in training:
the shorter side resized, antialiased, then the centre cut out; a rotation that is only noted in EXIF is not applied.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def read_picture(file: Path, *, side: int, channels: int) -> np.ndarray:
    """Pixels of a picture file, uint8 (side, side, channels)."""
    picture = Image.open(file).convert("RGB")
    width, height = picture.size
    shorter = min(width, height)
    width, height = side * width // shorter, side * height // shorter
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - side) / 2), round((height - side) / 2)
    picture = picture.crop((left, top, left + side, top + side))
    pixels = np.asarray(picture if channels == 3 else picture.convert("L"))
    return pixels.reshape(side, side, channels)


def network_input(pixels: np.ndarray, preprocessing: dict) -> np.ndarray:
    """A batch of one as the network takes it: the bytes as they are, or normalized, float32 (1, C, H, W)."""
    if preprocessing["inside"]:  # exported with --preprocess
        return pixels[None]
    x = (pixels / 255 - preprocessing["mean"]) / preprocessing["std"]
    return x.transpose(2, 0, 1)[None].astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities."""
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def main() -> None:
    """A line per picture: its three most probable classes."""
    parser = argparse.ArgumentParser(description="Classify pictures with an exported network.")
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    arguments = parser.parse_args()
    session = onnxruntime.InferenceSession(arguments.file, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    classes, preprocessing = (json.loads(metadata[f"namprune.{key}"]) for key in ("classes", "preprocessing"))
    name = session.get_inputs()[0].name
    for file in arguments.pictures:
        pixels = read_picture(file, side=preprocessing["side"], channels=preprocessing["channels"])
        (logits,) = session.run(None, {name: network_input(pixels, preprocessing)})
        probabilities = softmax(logits[0])
        top = [f"{classes[i]} {probabilities[i]:.6f}" for i in probabilities.argsort()[::-1][:3]]
        print(f"{file}: {', '.join(top)}")


if __name__ == "__main__":
    main()
