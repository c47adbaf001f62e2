"""Lids of one eye, closed by a warp of the source's own skin.

The skin between lash line and brow is stretched down over the eye, the skin below the eye follows a little. Lashes and
crease are separated from the skin first: lashes keep their size and turn down with the edge, the crease flattens.
The line along which lids shut and how it looks were measured on talking clips
(docs/method/embedded_renderer.md, Lids).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32, Image, Integers
from ...motion.smoothing import smoothstep
from ...system.jit import inlined, kernel
from .fill import fill_harmonic
from .shading import ramp, sample_bilinear

_OVERLAP = 0.010  # IOD by which shut lids overlap
_LASHES = (0.022, 0.055)  # IOD above the edge: all is lashes below the first, nothing above the second
_FINE = 0.045  # IOD: dark lines up to this thickness are lashes or crease
_LOWER_REACH = 0.13  # IOD of the skin below the eye that follows
_FLATTENED = 0.9  # share of the crease that vanishes
_HIDDEN = (0.25, 0.7)  # of the strip above the edge: up to the first all that is dark vanishes
# Light on the bulge of a shut eye: middle and width along the corners, middle and height above the edge in IOD.
_BULGE = (0.42, 0.21, 0.115, 0.045)
_BULGE_GAIN = (0.55, 0.50)  # where the skin above the open eye is black; less, per its brightness relative to the cheek
_SHADOW = (0.12, 2.2, 0.06)  # of the lashes: share of the line's darkness, reach in those of the line, at most in IOD


class Fields(NamedTuple):
    """Geometry of an eye at each pixel (h, w) of its patch, px; Y up from the line of the corners."""

    y: Floats32
    upper: Floats32
    """Y of the edge of the upper lid."""
    lower: Floats32
    shut: Floats32
    """Y of the line along which the lids shut."""
    strip: Floats32
    """Height of the skin above the edge that is stretched."""
    along: Floats32
    """0 at the outer corner, 1 at the inner one."""
    lid: Floats32
    """1 between the corners, fading to 0 beside them."""
    iod: np.float32


class Layers(NamedTuple):
    """Images of a patch (h, w, …); skin · crease · lashes is the source."""

    skin: Floats32
    """(h, w, 3) without lashes and crease."""
    grown: Floats32
    """(h, w, 3) skin grown over eye, lashes and shadows from the clean skin around: what a shut lid shows."""
    crease: Floats32
    """(h, w, 3) brightness of crease and texture relative to `skin`."""
    lashes: Floats32
    """(h, w, 3) brightness of the lashes relative to `skin`."""
    grain: Floats32
    """(h, w) fine detail for stretched skin."""
    line: Floats32
    """(h, w) darkness of the line of shut lids, 0…1."""
    tint: Floats32
    """(3,) share of that darkness in red, green and blue, 0.75…1: that of the open eye's lashes."""
    fall: np.float32
    """Depth to which the lashes of shut lids hang down, px: a standard deviation."""
    spilled: Floats32
    """(h, w) 0…1: eyeball below and beside the lids' curves, which the shut lids hide."""
    bulge: np.float32
    """Gain of the light on the bulge of a shut eye."""


def separate(image: Image, fields: Fields, beside: Floats) -> Layers:
    """Return the layers of a patch; `beside` (h, w) is the distance beyond the corners, px."""
    source, iod = image.astype(np.float32), float(fields.iod)
    above = fields.y - fields.upper
    taper = np.sqrt(np.maximum(1 - (beside / (0.08 * iod)) ** 2, 0))
    opening = (above < 0.045 * iod * taper) & (fields.y > fields.lower - 0.05 * iod * taper) & (taper > 0)
    around = (above < 0.30 * iod) & (fields.y > fields.lower - 0.10 * iod) & (beside < 0.12 * iod) & ~opening
    clean = _close(image, 0.08 * iod)
    grown = fill_harmonic(clean, opening | (around & _dark(clean, around)))
    bright = np.maximum(_close(image, _FINE * iod), source)
    near = ((1 - smoothstep(_LASHES[0] * iod, _LASHES[1] * iod, above)) * fields.lid)[..., None]
    on_lid = ((1 - smoothstep(0.14 * iod, 0.22 * iod, above)) * fields.lid)[..., None]  # brows stay as they are
    skin = source + on_lid * (bright - source)
    skin += near * (grown - skin)
    ratio = np.minimum((source + 4) / (skin + 4), 1.5 - 0.5 * near)
    lashes = 1 - (1 - np.minimum(ratio, 1)) * near
    return Layers(
        skin.astype(np.float32),
        grown,
        (ratio / lashes).astype(np.float32),
        lashes.astype(np.float32),
        _grain(source, opening, iod),
        *_lash_line(lashes, fields),
        _spilled(source, grown, fields),
        _bulge(source, fields),
    )


def _close(image: Image, thickness: float) -> Floats:
    """Return (h, w, 3) without dark lines up to a thickness."""
    size = max(3, round(thickness)) | 1
    closed = cv2.morphologyEx(image, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.asarray(cv2.GaussianBlur(closed.astype(np.float32), (0, 0), 0.25 * size))


def _dark(source: Floats, around: Flags) -> Flags:
    """Return the mask (h, w) of lashes, make-up, brow and shadow in the part `around` an eye."""
    if not around.any():
        return around
    luma = source.mean(axis=-1)
    return np.asarray(luma < 0.60 * np.percentile(luma[around], 65), np.bool_)


def _grain(source: Floats, inside: Flags, iod: float) -> Floats32:
    """Return (h, w) fine detail of the skin below the eye."""
    grey = source.mean(axis=-1)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), max(1.2, 0.02 * iod))
    skin = ~inside
    spread = float(np.median(np.abs(fine[skin]))) / 0.6745 if skin.any() else 0.0
    clean = np.where(skin, np.clip(fine, -2.2 * spread, 2.2 * spread), 0)
    last = len(clean) - 1  # rows from the cheek, mirrored at the bottom of the patch
    rows: Integers = np.arange(len(clean)) + round(0.38 * len(clean))
    rows = np.where(rows > last, 2 * last - rows, rows)
    return np.asarray(clean[rows], np.float32)


def _lash_line(lashes: Floats, fields: Fields) -> tuple[Floats32, Floats32, np.float32]:
    """Return `Layers.line`, `tint` and `fall`: as dark, uneven and deep as the open eye's lashes are."""
    along, iod = fields.along, float(fields.iod)
    own, above = 1 - lashes.mean(axis=-1), (fields.y - fields.upper) / iod
    middle = (along > 0.15) & (along < 0.85)
    edge, on_lid = middle & (np.abs(above) < 0.03), middle & (above > 0) & (above < 0.025)
    dark = float(np.percentile(own[edge], 75)) if edge.any() else 0.5
    thick = float(np.median(own[on_lid])) if on_lid.any() else 0.3
    ends = smoothstep(-0.12, 0.22, along) * (1 - smoothstep(0.85, 1.05, along))
    # Uneven: darker where the open eye's lashes are denser than around.
    columns = max(8, int(np.count_nonzero(middle.any(axis=0)) / 1.4))  # a little wider than a pixel
    bins = np.clip(along * columns, 0, columns - 1).astype(np.intp)
    counts, sums = (np.bincount(bins[on_lid], w, columns).astype(np.float32) for w in (None, own[on_lid]))
    near, around = (
        cv2.GaussianBlur(sums[None], (0, 0), s)[0] / np.maximum(cv2.GaussianBlur(counts[None], (0, 0), s)[0], 1e-3)
        for s in (1.0, 0.06 * columns)
    )
    dense = np.clip((near + 0.05) / (around + 0.05), 0.85, 1.2)
    strands = np.interp(along * columns - 0.5, np.arange(columns), dense)
    line = np.clip(np.clip(0.16 + 0.75 * dark, 0.3, 0.9) * strands, 0, 0.93) * ends
    channels = (1 - lashes[edge]).mean(axis=0) if edge.any() else np.ones(3)
    tint = np.clip(channels / max(float(channels.max()), 1e-3), 0.75, 1).astype(np.float32)
    fall = math.hypot((0.012 + 0.028 * thick) * iod, 1.0)
    return line.astype(np.float32), tint, np.float32(fall)


def _spilled(source: Floats, grown: Floats, fields: Fields) -> Floats32:
    """Return (h, w) 0…1 what is coloured unlike skin, and not dark, around the opening and connected with it."""
    iod = float(fields.iod)
    one, other = (cv2.cvtColor((v / 255).astype(np.float32), cv2.COLOR_RGB2LAB) for v in (source, grown))
    unlike = smoothstep(9.0, 15.0, np.linalg.norm((one - other)[..., 1:], axis=-1))
    unlike *= smoothstep(0.45, 0.6, one[..., 0] / np.maximum(other[..., 0], 1))
    opening = (fields.y < fields.upper) & (fields.y > fields.lower) & (fields.lid > 0.5)
    unlike *= (fields.y < fields.upper + 0.01 * iod) & (fields.y > fields.lower - 0.07 * iod) & (fields.lid > 0.05)
    _, parts = cv2.connectedComponents(((unlike > 0.3) | opening).astype(np.uint8))
    connected = np.bincount(parts[opening], minlength=int(parts.max()) + 1)[parts] > 0
    return np.asarray(cv2.GaussianBlur(unlike * connected, (0, 0), max(0.006 * iod, 0.6)), np.float32)


def _bulge(source: Floats, fields: Fields) -> np.float32:
    """Return `Layers.bulge`: the deeper the shade above the open eye, the more the shut lid stands out of it."""
    middle, iod = (fields.along > 0.22) & (fields.along < 0.61), float(fields.iod)
    over = fields.y - np.maximum(0.13 * iod, fields.upper + 0.05 * iod)
    above = middle & (over > 0) & (over < 0.055 * iod)
    below = middle & (fields.y < -0.11 * iod) & (fields.y > -0.20 * iod)
    if not (above.any() and below.any()):
        return np.float32(0.0)
    luma = source.mean(axis=-1)
    ratio = float(luma[above].mean() / max(luma[below].mean(), 1.0))
    return np.float32(np.clip(_BULGE_GAIN[0] - _BULGE_GAIN[1] * ratio, 0, 0.2))


@inlined
def _stretch(v: float, a: float) -> float:
    """Return the q with v = q − a (1 − q)²: a strip of height 1 whose lower end is moved down by `a` < 1."""
    b = 1.0 + 2.0 * a
    return float(2.0 * (v + a) / (b + math.sqrt(max(b * b - 4.0 * a * (v + a), 0.0))))


@kernel
def draw_lids(out: Image, source: Image, layers: Layers, fields: Fields, closure: float) -> None:
    """Draw the lids over `out` (h, w, 3), which shows the eyeball."""
    skin, grown, crease, lashes, grain, line, tint, fall, spilled, bulge = layers
    grid_y, upper, lower, shut, strip, along, lid, iod = fields
    height, width = grid_y.shape
    # Unit steps of X and Y in patch px.
    step_yx, step_yy = grid_y[0, 1] - grid_y[0, 0], grid_y[1, 0] - grid_y[0, 0]
    turn = ramp(0.45, 0.95, closure)
    shown = ramp(0.25, 1.0, closure)
    rise = math.sqrt((0.012 * iod) ** 2 + 1.0)
    appear, begun = ramp(0.0, 0.6, closure), ramp(0.0, 0.08, closure)
    dry = ramp(0.6, 1.0, closure)
    for py in range(height):
        for px in range(width):
            y, u0, l0 = grid_y[py, px], upper[py, px], lower[py, px]
            gap = u0 - l0
            meet = shut[py, px]
            if lid[py, px] <= 0 and abs(meet) < 0.02:
                continue
            lapped = _OVERLAP * iod * min(gap / (0.04 * iod), 1.0)
            u = u0 + (meet - u0) * closure
            low = l0 + (meet + lapped - l0) * closure
            v = (y - u0) / strip[py, px]
            if v >= 1.0:
                continue
            reach = _LOWER_REACH * iod
            slit = max(u - low, 0.0)
            under = min(max(low + slit * (1.0 - min(slit, 1.0)) - y + 0.5, 0.0), 1.0)
            if under > 0:
                # The lower lid, under it the skin down to `reach`.
                w = (l0 - y) / reach
                if w < 1.0:
                    q = _stretch(w, (low - l0) / reach)
                    shift = l0 - max(q * reach, 0.6) - y
                    bx, by = px + shift * step_yx, py + shift * step_yy
                    # The wet rim and the white beside it are hidden by the upper lid.
                    wet = dry * lid[py, px] * (1.0 - ramp(0.02 * iod, 0.05 * iod, q * reach))
                    row, column = min(max(int(by + 0.5), 0), height - 1), min(max(int(bx + 0.5), 0), width - 1)
                    hide = min(dry * 1.5, 1.0) * spilled[row, column]
                    for c in range(3):
                        value = sample_bilinear(source, by, bx, c)
                        value -= wet * max(value - grown[py, px, c], 0.0)
                        value += (grown[py, px, c] - value) * hide
                        old = float(out[py, px, c])
                        out[py, px, c] = np.uint8(min(max(old + (value - old) * under + 0.5, 0.0), 255.0))
            above = y - u
            # Lashes stand on the edge, and below it as they turn down.
            side = min(max(above + 0.5, 0.0), 1.0)
            beside = abs(above) > 0.1 * iod or lid[py, px] <= 0
            if beside and side <= 0:
                continue
            shift = u0 + max(above if above >= 0 else -above / 0.6, 0.75) - y
            lash_x, lash_y = px + shift * step_yx, py + shift * step_yy
            down = 0.8 * turn * min(max(gap / (0.03 * iod), 0.0), 1.0)
            weight = (down + (1.0 - 0.9 * turn - down) * side) * lid[py, px]
            sigma = rise if above > 0 else fall
            dark = 0.0
            if not beside:
                dark = math.exp(-0.5 * (above / sigma) ** 2)
                if above < 0:
                    far = min(_SHADOW[1] * sigma, _SHADOW[2] * iod)
                    dark += _SHADOW[0] * (math.exp(-0.5 * (above / far) ** 2) - dark)
                dark *= shown * line[py, px]
            a = (u0 - u) / strip[py, px]
            q = _stretch(v, a)
            stretched = 1.0 + 2.0 * a * (1.0 - q)
            source_above = max(q * strip[py, px], 0.75)
            shift = u0 + source_above - y
            bx, by = px + shift * step_yx, py + shift * step_yy
            fine = grain[py, px] * min(max(1.0 - 1.0 / stretched, 0.0), 1.0)
            hidden = appear * lid[py, px] * (1.0 - ramp(_HIDDEN[0], _HIDDEN[1], q / max(lid[py, px], 0.3)))
            flat = closure * lid[py, px] * _FLATTENED
            flat += (1.0 - flat) * hidden
            revealed = max(ramp(0.0, 0.8, stretched - 1.0) * lid[py, px], hidden)
            spot = ((along[py, px] - _BULGE[0]) / _BULGE[1]) ** 2 + ((above / iod - _BULGE[2]) / _BULGE[3]) ** 2
            light = 1.0 + bulge * closure * closure * math.exp(-0.5 * spot)
            for c in range(3):
                ratio = 1.0
                if not beside:
                    ratio = 1.0 - (1.0 - sample_bilinear(lashes, lash_y, lash_x, c)) * weight
                    ratio = min(ratio, 1.0 - dark * tint[c])
                old = float(out[py, px, c]) * (1.0 - (1.0 - ratio) * (1.0 - side * (1.0 - begun)))
                if side > 0:
                    folds = 1.0 - (1.0 - sample_bilinear(crease, by, bx, c)) * (1.0 - flat)
                    tone = sample_bilinear(skin, by, bx, c)
                    tone += (grown[py, px, c] - tone) * revealed
                    old += ((tone * light * folds + fine) * ratio - old) * side * begun
                out[py, px, c] = np.uint8(min(max(old + 0.5, 0.0), 255.0))
