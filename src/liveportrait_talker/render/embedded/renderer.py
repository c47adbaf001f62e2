"""The embedded renderer: the portrait on a face mesh, moved in 2.5-D. Needs no weights.

Per frame: edit the eyes in the source texture, move the mesh, rasterise it to a backward map, sample the texture once,
paint the mouth interior. A track at rest reproduces the source bit for bit. Source:
docs/method/embedded_renderer.md, Turning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from ...arrays import Floats, Floats32, Image, Indices, Integers
from ...errors import MediaError
from ...face.crop import FaceCrop
from ...face.mouth_offsets import subtract_source_mouth
from ...face.tracked import TrackedFace, TrackedSource
from ...motion.lips import controls_from_keypoints
from ...motion.smoothing import smoothstep
from ...motion.track import LipKeypoints, MotionTrack, MouthControls
from ...options.background import refuse_background
from ..protocol import FaceFrame
from .bands import Outline, Window
from .breathing import Body
from .eyes import Eye, find_eyes
from .layers import OPAQUE_BORDER, Layers, compose, separate
from .limits import Limits
from .mesh import PortraitMesh
from .model import face_model
from .mouth import MouthInterior, remove_spilled_teeth
from .mouth_colours import measure_skin
from .mouth_examples import MouthExample, MouthExamples, choose_frames
from .raster import BackwardMap, moving_window, sharpen
from .texture import Texture, blur
from .tones import MouthTones, luminance

log = logging.getLogger(__name__)

_AT_REST: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # eyes: blink left, right, gaze x, y
_EARLY_FRAMES = 100
_TRIED_FRAMES = 5  # of a video, for its tones
_STEADY_LIGHT = 0.25  # relative change of the light that is followed slowly, against noise
_FOLLOW_LIGHT = 0.2  # share of such a change that is followed from frame to frame
_VIDEO_EXAMPLES = 32  # frames of a video whose mouths are kept
_DARK = 0.02  # of the usual light: the frame counts as black
_FINEST_GRID = 160.0  # steps of the backward map per IOD; it is interpolated between them
_BORDER_FADE = 0.15  # IOD: the motion fades out towards the image's border
_BORDER_FADE_OF_LAYERS = 0.5  # IOD: larger turns need more; only where the person touches the border


class EmbeddedRenderer:
    """Draws any portrait whose face is found, on any machine."""

    name = "embedded"

    def __init__(
        self,
        *,
        mouths: Sequence[MouthExample] = (),
        teeth_brightness: float = 0.0,
        background: Image | None = None,
    ) -> None:
        """Take what is known about the person besides the source.

        Args:
            mouths: from other pictures of the person, see `mouth_examples`.
            teeth_brightness: −1…1, darker or brighter teeth than the source suggests.
            background: (h, w, 3) picture behind a still's person, or (1, 1, 4) transparent; None: its own is kept.
        """
        self._mouths = list(mouths)
        self._teeth_brightness = teeth_brightness
        self._background = background

    def prepare(self, source: TrackedSource, mouths: Sequence[MouthExample] = ()) -> EmbeddedFace:
        """Fit the mesh to an image's face; for a video this happens frame by frame. `mouths`: more of this source."""
        face = source.faces[0]
        if self._background is not None and not source.is_still:
            raise refuse_background(source.footage.name)
        separated: Layers | None = None
        if source.is_still:
            Limits.of(face).warn_about_source(source.footage.name, face)
            layers = separate(source.footage[0], face, source.footage.opacity)
            if isinstance(layers, str) and self._background is not None:
                raise MediaError(
                    f"the background of {source.footage.name} cannot be replaced, because {layers}: leave out "
                    "--background, or take another picture"
                )
            if not isinstance(layers, str) and layers.is_doubtful and self._background is not None:
                log.warning(
                    "%s: the outline of the person is uncertain in places; look at the result, or give a PNG whose "
                    "background is transparent.",
                    source.footage.name,
                )
            if isinstance(layers, str):
                log.warning("%s: the background moves along with the head, because %s.", source.footage.name, layers)
            else:
                separated = layers if self._background is None else layers.over(self._background)
        reduced = [mouth.reduced(face.pose.iod) for mouth in (*self._mouths, *mouths)]
        return EmbeddedFace(source, MouthExamples(reduced), self._teeth_brightness, separated)


class EmbeddedFace:
    """A source prepared for the embedded renderer."""

    def __init__(
        self,
        source: TrackedSource,
        mouths: MouthExamples,
        teeth_brightness: float = 0.0,
        layers: Layers | None = None,
    ) -> None:
        self._source, self._layers = source, layers
        self._mouths = mouths
        self._teeth_brightness = teeth_brightness
        self._limits = Limits.of(source.faces[0], layered=layers is not None)
        self._portrait: tuple[int, Portrait] | None = None
        self._skin: Floats32 | None = None
        self._measured: tuple[int, Floats32] | None = None
        self._warned_of_turn = self._warned_of_mouth = False

    def _at(self, index: int) -> Portrait:
        if self._portrait is None or self._portrait[0] != index:
            image, face = self._source.footage[index], self._source.faces[index]
            portrait = Portrait(
                image,
                face,
                self._tones,
                self._smooth_skin(index),
                self._mouths,
                self._layers,
                teeth_brightness=self._teeth_brightness,
                drawn_once=not self._source.is_still,
            )
            self._portrait = (index, portrait)
        return self._portrait[1]

    def _measure_skin(self, index: int) -> Floats32:
        """Return the colour of the skin in a frame, CIELAB."""
        if self._measured is None or self._measured[0] != index:
            self._measured = index, measure_skin(self._source.footage[index], self._source.faces[index])
        return self._measured[1]

    def _smooth_skin(self, index: int) -> Floats32:
        """Return the colour of the skin, CIELAB, smoothed over the frames that were drawn unless the light changes."""
        measured, before = self._measure_skin(index), self._skin
        if before is not None and not self._source.is_still:
            change = luminance(measured) / max(luminance(before), 1e-4)
            if 1 / (1 + _STEADY_LIGHT) < change < 1 + _STEADY_LIGHT:
                measured = before + np.float32(_FOLLOW_LIGHT) * (measured - before)
        self._skin = measured
        return measured

    @cached_property
    def _tones(self) -> MouthTones:
        """Tones of a still; of a video, those of the brightest of a few early frames: seeking further costs time."""
        faces, footage = self._source.faces, self._source.footage
        if self._source.is_still:
            return MouthTones(footage[0], faces[0])
        seen = [k for k in range(len(faces)) if self._source.shows_face(k)][:_EARLY_FRAMES] or [0]
        tried = [seen[k] for k in np.linspace(0, len(seen) - 1, min(_TRIED_FRAMES, len(seen))).astype(int)]
        lights = [luminance(self._measure_skin(k)) for k in tried]
        best = tried[int(np.argmax(lights))]
        return MouthTones(footage[best], faces[best])

    def _is_dark(self, index: int) -> bool:
        """Return whether a video's frame is black where the face would be, as in a fade."""
        if self._source.is_still:
            return False
        light = luminance(self._measure_skin(index))
        return light < _DARK * luminance(self._tones.skin)

    def _find_mouths(self, indices: Indices) -> list[MouthExample]:
        """Return the mouths in the frames of a video, of those that will be drawn."""
        footage, faces = self._source.footage, self._source.faces
        shown = np.array([k for k in np.unique(indices) if self._source.shows_face(int(k))], np.intp)
        chosen = [k for k in choose_frames(faces, shown, _VIDEO_EXAMPLES) if not self._is_dark(k)]
        return [mouth for k in chosen if (mouth := MouthExample.of(footage[k], faces[k])) is not None]

    @property
    def max_turn_deg(self) -> Floats:
        """Pitch, yaw, roll in degrees that look right. See `TurningFace`."""
        return self._limits.max_turn_deg

    def warn_of_limits(self, rotation_deg: Floats, track: MotionTrack) -> None:
        """Log, once for each limit, where the turn asked for or the track's mouth goes beyond it. See `LimitedFace`."""
        limits, mouth = self._limits, track.mouth
        drawn = limits.limit_rotation(track.head.rotation_deg[0])
        self._warned_of_turn = self._warned_of_turn or limits.warn_about_rotation(rotation_deg[None], drawn)
        if isinstance(mouth, MouthControls):
            self._warned_of_mouth = self._warned_of_mouth or limits.warn_about_opening(mouth.values[0])

    def frames(self, track: MotionTrack) -> Iterator[FaceFrame]:
        """Yield one drawn face for each track frame; a source video shorter than the track plays forth and back."""
        mouth = track.mouth
        if isinstance(mouth, LipKeypoints):  # relative to shut lips
            mouth = subtract_source_mouth(controls_from_keypoints(mouth).values, self._source, track.fps)
        if not self._warned_of_turn:
            self._warned_of_turn = self._limits.warn_about_rotation(track.head.rotation_deg)
        crop_width = self._source.faces[0].crop.scale * self._source.faces[0].crop.size[0]
        indices = self._source.frame_indices(len(track), track.fps)
        moves_in_video = not self._source.is_still and bool(np.any(mouth.values))
        if not track.continues:
            self._mouths.begin(self._find_mouths(indices) if moves_in_video else (), fps=track.fps)
        if not self._source.is_still:  # a second run gives the same frames
            self._portrait = self._skin = None
        for k, index in enumerate(indices):
            if not self._source.shows_face(int(index)) or self._is_dark(int(index)):
                yield FaceFrame(self._source.footage[index][:1, :1], None, FaceCrop.window(0, 0, 1, 1), int(index))
                continue
            window, image = self._at(int(index)).draw(
                rotation_deg=track.head.rotation_deg[k].astype(np.float64),
                shift_px=track.head.shift[k].astype(np.float64) * crop_width,
                scale=float(track.head.scale[k]),
                mouth=mouth.values[k].astype(np.float64),
                blink=track.blink[k],
                gaze=track.gaze[k],
                brows=track.brows[k].astype(np.float64),
                inner_brows=float(track.inner_brows[k]),
                smile=float(track.smile[k]),
                breath=float(track.breath[k]),
            )
            left, top, right, bottom = window
            crop = FaceCrop.window(left, top, right - left, bottom - top)
            picture = None if self._layers is None else self._layers.still
            yield FaceFrame(image, None, crop, int(index), picture)


class Portrait:
    """One image and its face: mesh, eyes, mouth, and the texture that they are drawn from."""

    def __init__(
        self,
        image: Image,
        face: TrackedFace,
        tones: MouthTones,
        skin: Floats32,
        mouths: MouthExamples,
        layers: Layers | None,
        *,
        teeth_brightness: float,
        drawn_once: bool,
    ) -> None:
        """`drawn_once`: a video's frame, of which only the moving part is prepared."""
        self._image = image
        self._face = face
        self._tones = tones
        self._skin = skin
        self._mouths = mouths
        self._teeth_brightness = teeth_brightness
        self._drawn_once = drawn_once
        self._layers = layers
        self._still = image if layers is None else layers.still
        self._mesh = PortraitMesh(face, face_model(), None if layers is None else layers.extent)
        self._limits = Limits.of(face, layered=layers is not None)
        self._position = self._mesh.position.astype(np.float32)
        self._texture: Texture | None = None
        self._sharpening = 0.0
        self._drawn_eyes = _AT_REST
        height, width = image.shape[:2]
        opacity = np.full((height, width), 255, np.uint8) if layers is None else layers.person[..., 3]
        fade = _BORDER_FADE if layers is None else _BORDER_FADE_OF_LAYERS
        fade = max(fade * self._mesh.iod, 1.0)
        self._border_x = _border_weight(opacity[:, 0], opacity[:, -1], width, fade)
        top = opacity[0] if layers is None or not len(layers.above) else opacity[0, :0]
        self._border_y = _border_weight(top, opacity[-1], height, fade)
        self._step = max(1, int(self._mesh.iod / _FINEST_GRID))

    @cached_property
    def _eyes(self) -> tuple[Eye, ...]:
        return find_eyes(self._image, self._face, may_be_drawn=not self._drawn_once)

    @cached_property
    def _outline(self) -> Outline:
        if self._layers is None:
            return Outline(np.ones(self._image.shape[:2], bool))
        return Outline((self._layers.person[..., 3] > 0) | (self._layers.background != self._still).any(axis=-1))

    @cached_property
    def _body(self) -> Body | None:
        if self._layers is None:
            return None
        chin = float(self._mesh.position[self._mesh.model.face_oval, 1].max())
        return Body(self._layers.person, chin, self._mesh.iod, self._border_y)

    @cached_property
    def _interior(self) -> MouthInterior:
        return MouthInterior(
            self._image,
            self._face,
            self._mesh,
            self._tones,
            self._skin,
            self._mouths,
            teeth_brightness=self._teeth_brightness,
            in_video=self._drawn_once,
        )

    def draw(
        self,
        *,
        rotation_deg: Floats,
        shift_px: Floats,
        scale: float,
        mouth: Floats,
        blink: Floats,
        gaze: Floats,
        brows: Floats,
        inner_brows: float = 0.0,
        smile: float = 0.0,
        breath: float = 0.0,
    ) -> tuple[Window, Image]:
        """Return the part of the image that changes: (left, top, right, bottom) and its pixels.

        Args:
            rotation_deg: (3,) pitch, yaw, roll added to the source's own.
            shift_px: (2,) x right, y down.
            scale: ratio to the source's size.
            mouth: (5,) controls in IOD.
            blink: (2,) left, right, 0…1; negative = opened wider.
            gaze: (2,) x, y, −1…1.
            brows: (2,) left, right, raised in IOD.
            inner_brows: their inner ends, raised further, in IOD.
            smile: corners of the mouth, raised in IOD.
            breath: 0…1, how far the chest has risen; drawn with layers only.
        """
        rotation = self._mesh.add_rotation(self._limits.limit_rotation(rotation_deg))
        controls = self._limits.limit_mouth(mouth) if np.any(mouth) else mouth
        expression = self._limits.limit_expression(brows, inner_brows, blink, smile)
        blink = np.maximum(blink, 0)
        displacement, depth = self._mesh.displace(rotation, controls, shift_px, scale, expression)
        height, width = self._image.shape[:2]
        moving = moving_window(self._mesh.position, displacement, self._mesh.model.triangles, (width, height))
        eyes_move = bool(np.any(blink) or np.any(gaze))
        windows: list[Window] = [] if moving is None else [moving[1]]
        if eyes_move:
            windows += [eye.box for eye in self._eyes]
        body = self._body if breath else None
        if body is not None and body.moves:
            windows.append(body.box)
        if not windows:
            return (0, 0, 1, 1), self._still[:1, :1]
        whole = left, top, right, bottom = _around(windows)
        pixels = self._still[top:bottom, left:right].copy()
        lift: Floats32 = np.zeros(height, np.float32)
        if body is not None and body.moves and self._layers is not None:
            lift = body.lift(breath)
            windows.pop()
            over = self._layers.background, self._still, pixels
            body.draw(lift, *over, (left, top), _around(windows) if windows else (0, 0, 0, 0))
        if windows:
            window = _around(windows)
            texture = self._texture_for(window, displacement)
            self._redraw_eyes(texture, (*blink, *gaze))
            triangles = self._mesh.model.triangles[:0] if moving is None else moving[0]
            mapped = self._map(window, texture, triangles, displacement, depth, lift)
            self._sample(texture, mapped, float(np.abs(displacement).max() + lift.max()), pixels, whole)
        if np.any(controls):
            moved_to = self._mesh.position + displacement
            opaque = np.ascontiguousarray(pixels[..., :3])
            self._interior.paint(opaque, whole[:2], moved_to, rotation, shift_px, scale, controls)
            if opaque.base is not pixels:
                pixels[..., :3] = opaque
        return whole, pixels

    def _redraw_eyes(self, texture: Texture, eyes: tuple[float, float, float, float]) -> None:
        if eyes != self._drawn_eyes:
            for eye in self._eyes:
                texture.redraw(eye.left, eye.top, eye.draw(float(eyes[eye.side]), np.array(eyes[2:])))
            self._drawn_eyes = eyes

    def _map(
        self,
        window: Window,
        texture: Texture,
        triangles: Integers,
        displacement: Floats,
        depth: Floats,
        lift: Floats32,
    ) -> BackwardMap:
        """Return where each pixel of a window is sampled from."""
        return BackwardMap(
            window,
            self._step,
            texture.box[:2],
            texture.factor,
            self._position,
            displacement.astype(np.float32),
            depth.astype(np.float32),
            triangles,
            self._border_x,
            self._border_y,
            each_axis=self._layers is not None,
            lift=lift,
        )

    def _sample(self, texture: Texture, mapped: BackwardMap, reach: float, out: Image, place: Window) -> None:
        """Draw the sampled texture into `out`, the part of the image at `place`, where it moves by up to `reach` px."""
        layers = self._layers
        for band in self._outline.bands(mapped.window, reach, self._step):
            # One more row on each side, for the blur.
            map_x, map_y, moved = mapped.of(band)
            sampled = texture.sample(map_x, map_y)
            blurred = blur(sampled) if self._sharpening > 0 else sampled
            inner = np.s_[1:-1, 1:-1]
            if layers is not None:
                over = layers.background, self._still, out
                compose(sampled[inner], blurred[inner], moved[inner], self._sharpening, *over, band[:2], place[:2])
                continue
            if self._sharpening > 0:
                sharpen(sampled, blurred, moved, self._sharpening)
            left, top = band[0] - place[0], band[1] - place[1]
            out[top : top + band[3] - band[1], left : left + band[2] - band[0]] = sampled[inner]

    def _texture_for(self, window: Window, displacement: Floats) -> Texture:
        """Return the enlarged texture: all that can move for an image, what this frame needs for a video."""
        if self._texture is None or (self._drawn_once and not self._texture.covers(window)):
            reach = int(np.ceil(np.abs(displacement).max())) + 4 if self._drawn_once else 0
            low, high = self._mesh.position.min(axis=0), self._mesh.position.max(axis=0)
            box = window if self._drawn_once else (int(low[0]) - 4, int(low[1]) - 4, int(high[0]) + 5, int(high[1]) + 5)
            self._drawn_eyes = _AT_REST
            image = self._image if self._layers is None else self._layers.person
            if self._drawn_once:
                image = remove_spilled_teeth(image, self._face, self._mesh, self._tones.lip_under(self._skin))
            box = (box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach)
            above = None if self._layers is None else self._layers.above
            self._texture = Texture(image, box, many_frames=not self._drawn_once, above=above)
            if not self._drawn_once:
                low, high = (f(self._face.landmarks[:, :2], axis=0) for f in (np.min, np.max))
                box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
                measured = self._texture
                if self._layers is not None and measured.factor == 4:  # its colours end beside the face
                    measured = Texture(self._image, box, many_frames=True)
                self._sharpening = measured.find_sharpening(box)
        return self._texture


def _border_weight(first: Image, last: Image, length: int, fade: float) -> Floats32:
    """Return the weight of the motion along an axis: 0 at a border where one of its opacities is not 0."""
    at = np.arange(length, dtype=np.float64)
    weight: Floats = np.ones(length)
    for opacity, distance in ((first, at), (last, at[::-1])):
        if opacity.max(initial=0) > OPAQUE_BORDER:
            weight = weight * smoothstep(0, fade, distance)
    return weight.astype(np.float32)


def _around(windows: list[Window]) -> Window:
    """Return the smallest window that holds all of `windows`."""
    corners = np.array(windows)
    left, top = corners[:, :2].min(axis=0)
    right, bottom = corners[:, 2:].max(axis=0)
    return int(left), int(top), int(right), int(bottom)
