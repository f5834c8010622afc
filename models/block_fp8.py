# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""F8_E4M3 weights with one float32 scale a 128x128 block, as DeepSeek's checkpoints hold them.

A block's scale maps its largest magnitude to 448, the largest finite E4M3 value. Blocks at
the right and lower edges are cut to the matrix. All functions take matrices [..., out, in].
"""

import torch

BLOCK = 128
LARGEST = 448.0


def block_scales(weight):
    """Scales [..., ceil(out/128), ceil(in/128)]; a block of zeros has scale 1."""
    rows, columns = weight.shape[-2:]
    down, across = -rows % BLOCK, -columns % BLOCK
    padded = torch.nn.functional.pad(weight.abs(), (0, across, 0, down))
    blocks = padded.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))
    largest = blocks.amax(dim=(-3, -1))
    return torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))


def expand(scales, rows, columns):
    """One scale for every element of a [..., rows, columns] matrix."""
    wide = scales.repeat_interleave(BLOCK, -1)[..., :columns]
    return wide.repeat_interleave(BLOCK, -2)[..., :rows, :]


def quantize(weight):
    """(E4M3 values, scales) of a float32 matrix."""
    scales = block_scales(weight)
    return (weight / expand(scales, *weight.shape[-2:])).to(torch.float8_e4m3fn), scales


def dequantize(values, scales):
    return values.float() * expand(scales, *values.shape[-2:])


def rounded(weight):
    """The weight as the checkpoint will hold it; the gradient passes straight through."""
    with torch.no_grad():
        difference = dequantize(*quantize(weight)) - weight
    return weight + difference
