"""How far one portrait can be moved before it looks wrong. Source: spec/embedded.md §5."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ...arrays import Floats
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep

log = logging.getLogger(__name__)

ROTATION_DEG = np.array([10.5, 10.5, 9.0])  # pitch, yaw, roll away from the source's own pose
# FaceMesh, which sets the users' yardstick, reads a drawn nod at four fifths of its size.
ROTATION_GAIN = np.array([1.2, 1.0, 1.0])
OPEN_MOST = 0.225  # the lower lip folds over the chin beyond
OPEN_TOO_WIDE = 0.25  # a mouth open this far in the picture cannot be shut
BROWS_MOST = 0.12  # IOD
WIDEST_EYE = 0.3  # of its gap
_STIFFENS = (0.20, 0.30)
CONTROLS_MOST = np.array([0.13, 0.13, 0.06, 0.06])  # spread, round, press, corner_up; IOD
_TURNED = 12.0  # deg: a face turned further has less to show of its far side
_KNEE = 0.7


def soft_limit(x: Floats, most: Floats | float) -> Floats:
    """`x` unchanged up to 70 % of ±`most`, then bending towards it, never beyond."""
    limit = np.broadcast_to(np.asarray(most, np.float64), np.shape(x))
    knee = _KNEE * limit
    room = np.maximum(limit - knee, 1e-9)
    size = np.abs(x)
    bent = knee + room * np.tanh((size - knee) / room)
    limited: Floats = np.where(size > knee, np.sign(x) * bent, x)
    return limited


@dataclass(frozen=True)
class Limits:
    """What one source face allows."""

    turn_share: float
    """0.25…1: the share of a yaw or pitch that is drawn."""
    aperture: float
    """The source's own inner-lip opening, IOD."""

    @classmethod
    def of(cls, face: TrackedFace) -> Limits:
        """Limits for a face, from its pose and mouth."""
        yaw = abs(float(face.rotation_deg[1]))
        share = float(np.clip(1 - (yaw - _TURNED) / 29.0, 0.25, 1.0))
        return cls(turn_share=share, aperture=max(face.aperture, 0.0))

    def warn(self, name: str, face: TrackedFace) -> None:
        """Say in one sentence what this picture cannot do."""
        if self.turn_share < 1:
            log.warning(
                "%s shows a face turned by %.0f°: its head moves less, because its far side cannot be seen.",
                name,
                abs(float(face.rotation_deg[1])),
            )
        if self.aperture > OPEN_TOO_WIDE:
            log.warning(
                "the mouth in %s is wide open: it cannot be shut, only moved; a picture with closed lips works best.",
                name,
            )

    def warn_of_turns(self, asked_deg: Floats, drawn_deg: Floats | None = None) -> bool:
        """Say in one sentence where (T, 3) angles go well beyond what is drawn of them; was it said?

        `drawn_deg` (3,) is what is drawn of the widest, where that is not `rotation`'s alone.
        """
        widest = np.abs(asked_deg).max(axis=0, initial=0.0)
        drawn = self.rotation(widest) if drawn_deg is None else np.abs(drawn_deg)
        beyond = bool((drawn < 0.75 * widest - 1.0).any())
        if beyond:
            log.warning(
                "the embedded renderer turns this head by %s° at most (pitch, yaw, roll), not by the %s° asked for.",
                " ".join(f"{v:.0f}" for v in drawn),
                " ".join(f"{v:.0f}" for v in widest),
            )
        return beyond

    def warn_of_opening(self, controls: Floats) -> bool:
        """Say in one sentence where (5,) mouth controls open it much further than is drawn; was it said?"""
        asked, drawn = self.aperture + controls[0], self.aperture + self.mouth(controls)[0]
        beyond = bool(drawn < 0.75 * asked - 0.01)
        if beyond:
            log.warning(
                "the embedded renderer opens this mouth by %.0f %% of the distance of the eyes at most, not by the "
                "%.0f %% asked for.",
                100 * drawn,
                100 * asked,
            )
        return beyond

    def rotation(self, rotation_deg: Floats) -> Floats:
        """(3,) pitch, yaw, roll asked for → drawn."""
        share = np.array([self.turn_share, self.turn_share, 1.0])
        return soft_limit(rotation_deg * ROTATION_GAIN * share, ROTATION_DEG * share)

    def mouth(self, controls: Floats) -> Floats:
        """(5,) controls asked for → drawn; the lips never cross."""
        limited = np.array(controls, dtype=np.float64)
        wanted = max(self.aperture + limited[0], 0.0)  # the opening itself, not its change
        # The source's own opening stays reachable, whatever the limit.
        free = float(soft_limit(np.array(wanted), max(OPEN_MOST, self.aperture / _KNEE)))
        floor = 0.5 * self.aperture
        stiff = floor + min(wanted, OPEN_MOST) / OPEN_MOST * (self.aperture - floor)
        # One goes over into the other, or a video's mouth would jump as it opens.
        share = float(smoothstep(*_STIFFENS, np.array(self.aperture)))
        limited[0] = (1 - share) * free + share * stiff - self.aperture
        limited[1:] = soft_limit(limited[1:], CONTROLS_MOST)
        return limited

    def upper_face(self, brows: Floats, blink: Floats) -> Floats:
        """(4,) what is drawn of brows (2,) raised and of lids (2,) opened beyond the picture's, left and right."""
        raised, widened = soft_limit(np.asarray(brows, np.float64), BROWS_MOST), np.clip(-blink, 0, WIDEST_EYE)
        return np.concatenate([raised, widened])
