"""Limits on the motion of one portrait (docs/method/embedded_renderer.md, Limits)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ...arrays import Floats
from ...face.tracked import TrackedFace
from ...motion.rotation import MAX_TURN_DEG
from ...motion.smoothing import smoothstep

log = logging.getLogger(__name__)

MAX_ROTATION_DEG = np.array([10.5, 10.5, 9.0])  # pitch, yaw, roll relative to the source's pose
MAX_ROTATION_OF_LAYERS_DEG = np.array([15.0, 21.5, 16.0])  # where the background does not move along
ROTATION_GAIN = np.array([1.2, 1.0, 1.0])  # FaceMesh measures a drawn pitch at four fifths of its size
MAX_APERTURE = 0.225  # IOD; beyond, the lower lip folds over the chin
MAX_CLOSABLE_APERTURE = 0.25  # IOD; a mouth that is open further in the source cannot be closed
MAX_BROW = 0.12  # IOD
MAX_INNER_BROW = 0.09  # IOD
BROWS_TOGETHER = 0.35  # share of the motion of the inner ends, up or down, by which they come together
MAX_SMILE = 0.1  # IOD
MAX_EYE_WIDENING = 0.3  # of the gap between the lids
_STIFFENING_APERTURES = (0.20, 0.30)  # IOD
MAX_CONTROLS = np.array([0.13, 0.13, 0.06, 0.06])  # spread, round, press, corner_up; IOD
_MAX_TURN_OF_LAYERS_DEG = np.array([10.0, 17.0, 13.0])  # in place of `MAX_TURN_DEG`
_FREE_YAW_DEG = 12.0  # a face turned further shows less of its far side
_TURNED = 0.6  # of the source's own yaw is taken from the limit of turning further
_KNEE = 0.7


def soft_limit(x: Floats, limit: Floats | float) -> Floats:
    """Return `x` where |x| ≤ 70 % of `limit`, and beyond that values that approach ±`limit` smoothly."""
    limit = np.broadcast_to(np.asarray(limit, np.float64), np.shape(x))
    knee = _KNEE * limit
    span = np.maximum(limit - knee, 1e-9)
    size = np.abs(x)
    compressed = knee + span * np.tanh((size - knee) / span)
    limited: Floats = np.where(size > knee, np.sign(x) * compressed, x)
    return limited


@dataclass(frozen=True)
class Limits:
    """Limits of one source face."""

    turn_share: float
    """0.25…1: the share of a yaw or pitch that is drawn."""
    aperture: float
    """Opening of the inner lips in the source, IOD."""
    layered: bool = False
    """Whether the person is drawn over a background that stands still."""
    yaw_deg: float = 0.0
    """Of the source."""

    @classmethod
    def of(cls, face: TrackedFace, *, layered: bool = False) -> Limits:
        """Return the limits of a face from its pose and mouth."""
        yaw = abs(float(face.rotation_deg[1]))
        share = float(np.clip(1 - (yaw - _FREE_YAW_DEG) / 29.0, 0.25, 1.0))
        return cls(
            turn_share=share, aperture=max(face.aperture, 0.0), layered=layered, yaw_deg=float(face.rotation_deg[1])
        )

    @property
    def max_turn_deg(self) -> Floats:
        """(3,) pitch, yaw, roll in degrees up to which a driving motion is followed unchanged."""
        return _MAX_TURN_OF_LAYERS_DEG if self.layered else MAX_TURN_DEG

    def warn_about_source(self, name: str, face: TrackedFace) -> None:
        """Log a warning for a strongly turned face and one for an open mouth."""
        if self.turn_share < 1:
            log.warning(
                "%s shows a face turned by %.0f°: the head moves less, because its far side is not visible.",
                name,
                abs(float(face.rotation_deg[1])),
            )
        if self.aperture > MAX_CLOSABLE_APERTURE:
            log.warning(
                "the mouth in %s is wide open: it can be moved but not closed; a picture with closed lips works best.",
                name,
            )

    def warn_about_rotation(self, requested_deg: Floats, drawn_deg: Floats | None = None) -> bool:
        """Log a warning where less than three quarters of a rotation are drawn.

        None for a turned face: `warn_about_source` has said that it moves less.

        Args:
            requested_deg: (T, 3) pitch, yaw, roll.
            drawn_deg: (3,) limited value of the largest angles; by default from `limit_rotation`.

        Returns:
            Whether a warning was logged.
        """
        largest = np.abs(requested_deg).max(axis=0, initial=0.0)
        drawn = self.limit_rotation(largest) if drawn_deg is None else np.abs(drawn_deg)
        exceeds = self.turn_share == 1 and bool((drawn < 0.75 * largest - 1.0).any())
        if exceeds:
            log.warning(
                "the embedded renderer turns this head by at most %s° (pitch, yaw, roll), not by the requested %s°.",
                ", ".join(f"{v:.0f}" for v in drawn),
                ", ".join(f"{v:.0f}" for v in largest),
            )
        return exceeds

    def warn_about_opening(self, controls: Floats) -> bool:
        """Log a warning where less than three quarters of an opening (5,) are drawn; return whether one was logged."""
        requested, drawn = self.aperture + controls[0], self.aperture + self.limit_mouth(controls)[0]
        exceeds = bool(drawn < 0.75 * requested - 0.01)
        if exceeds:
            log.warning(
                "the embedded renderer opens this mouth by at most %.0f %% of the distance between the eyes, not by "
                "the requested %.0f %%.",
                100 * drawn,
                100 * requested,
            )
        return exceeds

    def limit_rotation(self, rotation_deg: Floats) -> Floats:
        """Return the drawn (3,) pitch, yaw, roll for the requested ones."""
        share = np.array([self.turn_share, self.turn_share, 1.0])
        most = MAX_ROTATION_DEG
        if self.layered:
            most = MAX_ROTATION_OF_LAYERS_DEG.copy()
            if rotation_deg[1] * self.yaw_deg > 0:  # turned further, its far cheek ends in a sharp edge
                most[1] = max(most[1] - _TURNED * abs(self.yaw_deg), MAX_ROTATION_DEG[1])
        return soft_limit(rotation_deg * ROTATION_GAIN * share, most * share)

    def limit_mouth(self, controls: Floats) -> Floats:
        """Return the drawn (5,) mouth controls for the requested ones; the lips never cross."""
        limited = np.array(controls, dtype=np.float64)
        wanted = max(self.aperture + limited[0], 0.0)  # absolute, not relative to the source
        # The limit never excludes the source's own opening.
        free = float(soft_limit(np.array(wanted), max(MAX_APERTURE, self.aperture / _KNEE)))
        floor = 0.5 * self.aperture
        stiff = floor + min(wanted, MAX_APERTURE) / MAX_APERTURE * (self.aperture - floor)
        # Blended, because the mouth of a video would jump at a threshold.
        share = float(smoothstep(*_STIFFENING_APERTURES, np.array(self.aperture)))
        limited[0] = (1 - share) * free + share * stiff - self.aperture
        limited[1:] = soft_limit(limited[1:], MAX_CONTROLS)
        return limited

    def limit_expression(self, brows: Floats, inner_brows: float, blink: Floats, smile: float) -> Floats:
        """Return (7,) as in `upper_face_basis`, then `smile_basis`: IOD, and widening of the eyes (share of the gap).

        Args:
            brows: (2,) raise of the left and right brow, IOD.
            inner_brows: further raise of their inner ends, IOD.
            blink: (2,) left and right; negative values widen the eye.
            smile: raise of the corners of the mouth, IOD.
        """
        raised = soft_limit(np.asarray(brows, np.float64), MAX_BROW)
        inner, smile = soft_limit(np.array([inner_brows, smile]), np.array([MAX_INNER_BROW, MAX_SMILE]))
        widened = np.clip(-blink, 0, MAX_EYE_WIDENING)
        return np.array([*raised, inner, BROWS_TOGETHER * abs(inner), *widened, smile])
