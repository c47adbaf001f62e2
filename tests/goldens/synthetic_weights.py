"""Deterministic synthetic weights and inputs for parity tests (numpy only).

The released checkpoints cannot be shipped with the tests, so a network is
proved correct on *synthetic* weights instead: every tensor is a pure function
of its checkpoint key, its shape and an optional ``salt``.  Whoever fills a
network with ``synthetic_state_dict`` therefore holds exactly the weights the
golden outputs were computed with, whatever the order of the keys.

How a tensor is made
--------------------
1. ``sha256(salt + NUL + kind + NUL + name)`` gives 128 bits that key a Philox
   counter generator.  Only its raw bit stream is used (numpy guarantees that
   stream for ever; it does not guarantee the streams of ``normal`` & co.).
2. The raw stream is read as little-endian 32-bit words; the top 24 bits of a
   word times 2**-24 is a uniform number in [0, 1), exact in float32.
3. The uniform numbers are mapped to the range that suits the kind of tensor
   (see ``_rule``): fan-in scaled weights, small biases, norm weights near 1,
   running variances in [0.5, 1.5], and so on.

Nothing here calls libm or BLAS except the spectral-norm vectors, so two
machines agree bit for bit on everything else.

Spectral norm
-------------
For every ``P.weight_orig`` the companions ``P.weight_u`` / ``P.weight_v`` are
unit vectors obtained with ``SPECTRAL_ITERATIONS`` power iterations on the
synthetic ``weight_orig`` reshaped to (out, -1), started from a synthetic
vector.  So sigma = u . (W v) is well away from zero but still measurably below
the true largest singular value: code that recomputes sigma instead of using
the stored u and v does NOT reproduce the goldens.
"""

from __future__ import annotations

import hashlib
import re
from math import prod, sqrt

import numpy as np

SPECTRAL_ITERATIONS = 3

# (regular expression on the key, what to draw).  First match wins.
#   ("gain", g)       weight: uniform with standard deviation g / sqrt(fan_in)
#   ("range", lo, hi) uniform in [lo, hi)
# fan_in is the product of all dimensions but the first.
_RULES: list[tuple[str, tuple]] = [
    # --- statistics and affine parameters of normalisation layers
    (r"running_mean$", ("range", -0.2, 0.2)),
    (r"running_var$", ("range", 0.5, 1.5)),
    # --- motion extractor: heads are scaled so that key points stay in view
    (r"fc_kp\.weight$", ("gain", 0.08)),
    (r"fc_kp\.bias$", ("range", -0.30, 0.30)),
    (r"fc_exp\.weight$", ("gain", 0.02)),
    (r"fc_exp\.bias$", ("range", -0.01, 0.01)),
    (r"fc_t\.weight$", ("gain", 0.03)),
    (r"fc_t\.bias$", ("range", -0.03, 0.03)),
    (r"fc_scale\.weight$", ("gain", 0.05)),
    (r"fc_scale\.bias$", ("range", 1.20, 1.30)),
    (r"fc_(pitch|yaw|roll)\.weight$", ("gain", 2.5)),
    (r"grn\.(gamma|beta)$", ("range", -0.4, 0.4)),
    (r"pwconv2\.weight$", ("gain", 0.7)),
    # --- warping network
    (r"dense_motion_network\.mask\.weight$", ("gain", 1.6)),
    (r"dense_motion_network\.occlusion\.weight$", ("gain", 1.6)),
    (r"conv2\.weight$", ("gain", 0.7)),
    # --- generator
    (r"mlp_gamma\.weight$", ("gain", 0.4)),
    (r"mlp_beta\.weight$", ("gain", 0.6)),
    (r"conv_img\.0\.weight$", ("gain", 1.0)),
    # --- stitching / retargeting heads (last layer of each MLP)
    (r"(^|/|\.)mlp\.(6|10)\.weight$", ("gain", 0.06)),
    (r"(^|/|\.)mlp\.(6|10)\.bias$", ("range", -0.01, 0.01)),
    # --- generic
    (r"bias$", ("range", -0.1, 0.1)),
]


def _uniform(kind: str, name: str, count: int, salt: str) -> np.ndarray:
    """``count`` float32 numbers in [0, 1), a function of (salt, kind, name)."""
    digest = hashlib.sha256(f"{salt}\0{kind}\0{name}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    raw = np.asarray(bits.random_raw((count + 1) // 2), dtype="<u8")
    words = raw.view("<u4")[:count]
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _between(u: np.ndarray, low: float, high: float) -> np.ndarray:
    low32, span32 = np.float32(low), np.float32(high - low)
    return u * span32 + low32


def _rule(key: str, shape: tuple[int, ...]) -> tuple:
    for pattern, rule in _RULES:
        if re.search(pattern, key):
            return rule
    if key.endswith("weight") and len(shape) == 1:  # norm layer
        return ("range", 0.8, 1.2)
    return ("gain", sqrt(2.0))  # conv / linear


def synthetic_tensor(key: str, shape: tuple[int, ...], dtype: str = "float32", salt: str = "") -> np.ndarray:
    """The synthetic value of one checkpoint entry.

    ``key`` is the full name, including any path in front of it (see
    ``synthetic_state_dict``).  ``dtype`` is the result's type; the draw itself
    is always made in float32.  A ``num_batches_tracked`` entry is an int64 0.

    ``weight_u`` / ``weight_v`` asked for on their own are plain synthetic unit
    vectors (the power iteration's start); ``synthetic_state_dict`` refines
    them because that needs the matrix they belong to.
    """
    shape = tuple(int(n) for n in shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    u = _uniform("weight", key, prod(shape), salt)
    if key.endswith(("weight_u", "weight_v")):
        vector = (u - np.float32(0.5)).astype(np.float64)
        return (vector / np.sqrt((vector * vector).sum())).reshape(shape).astype(dtype)
    rule = _rule(key, shape)
    if rule[0] == "gain":
        half_width = rule[1] * sqrt(3.0 / prod(shape[1:]))
        value = _between(u, -half_width, half_width)
    else:
        value = _between(u, rule[1], rule[2])
    return value.reshape(shape).astype(dtype)


def _power_iterate(weight: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matrix = weight.reshape(weight.shape[0], -1).astype(np.float64)
    u = u.astype(np.float64)
    for _ in range(SPECTRAL_ITERATIONS):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    return u.astype(np.float32), v.astype(np.float32)


def synthetic_state_dict(manifest: dict, salt: str = "", path: str = "") -> dict:
    """Fill a manifest (key -> shape) with synthetic tensors.

    A value that is itself a dict (as in the stitching/retargeting checkpoint)
    is filled recursively; the draw of an inner entry is keyed by
    ``"<outer>/<inner>"`` so that equal inner names get different numbers.
    """
    out: dict = {}
    for key, shape in manifest.items():
        if isinstance(shape, dict):
            out[key] = synthetic_state_dict(shape, salt, f"{path}{key}/")
        else:
            out[key] = synthetic_tensor(path + key, tuple(shape), salt=salt)
    for key in manifest:
        if key.endswith(".weight_orig"):
            stem = key[: -len("_orig")]
            u, v = _power_iterate(out[key], out[stem + "_u"])
            out[stem + "_u"], out[stem + "_v"] = u, v
    return out


def synthetic_input(
    name: str, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0, salt: str = ""
) -> np.ndarray:
    """float32 uniform noise in [low, high), a function of (salt, name)."""
    shape = tuple(int(n) for n in shape)
    return _between(_uniform("input", name, prod(shape), salt), low, high).reshape(shape)


def synthetic_image(
    name: str, height: int, width: int, channels: int = 3, salt: str = "", cell: int = 16
) -> np.ndarray:
    """A smooth uint8 image (H, W, C): random values on a lattice with one node
    every ``cell`` pixels, joined bilinearly in integer arithmetic (exact)."""
    rows, cols = height // cell + 2, width // cell + 2
    lattice = (
        (_uniform("image", name, rows * cols * channels, salt) * np.float32(256.0))
        .astype(np.int64)
        .reshape(rows, cols, channels)
    )
    y, x = np.arange(height), np.arange(width)
    iy, wy = y // cell, (y % cell)[:, None, None]
    ix, wx = x // cell, (x % cell)[None, :, None]
    top = lattice[iy][:, ix] * (cell - wx) + lattice[iy][:, ix + 1] * wx
    low = lattice[iy + 1][:, ix] * (cell - wx) + lattice[iy + 1][:, ix + 1] * wx
    area = cell * cell
    return ((top * (cell - wy) + low * wy + area // 2) // area).astype(np.uint8)


def input_from_spec(spec: dict | list, salt: str = "") -> np.ndarray:
    """Build the input a fixture's ``meta["inputs"][...]`` entry describes.

    {"kind": "input", "name", "shape", "low", "high"}   synthetic_input
    {"kind": "image", "name", "height", "width", "cell"} uint8 (H, W, 3)
    {"kind": "image01", ...same...}                      float32 (1, 3, H, W) in [0, 1]
    {"kind": "sum", "of": [spec, spec, ...]}             element-wise sum (float32)
    [spec, spec, ...]                                    concatenated along axis 0
    """
    if isinstance(spec, list):
        return np.concatenate([input_from_spec(item, salt) for item in spec], axis=0)
    kind = spec["kind"]
    if kind == "input":
        return synthetic_input(spec["name"], spec["shape"], spec["low"], spec["high"], salt)
    if kind == "sum":
        terms = [input_from_spec(item, salt) for item in spec["of"]]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total
    image = synthetic_image(spec["name"], spec["height"], spec["width"], salt=salt, cell=spec["cell"])
    if kind == "image":
        return image
    if kind == "image01":
        return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255.0))
    raise ValueError(f"unknown input kind {kind!r}")
