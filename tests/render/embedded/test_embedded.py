"""The embedded renderer on the bundled portrait: which pixels change and which do not."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.face.mouth_offsets import subtract_source_mouth
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage
from liveportrait_talker.motion import (
    HeadTrack,
    MotionTrack,
    MouthControls,
    controls_from_keypoints,
    keypoints_from_controls,
)
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import paste


def draw(source, prepared, frames=1, *, head=(0, 0, 0), mouth=(0, 0, 0, 0, 0), blink=(0, 0), gaze=(0, 0)):
    def rows(values):
        values = np.atleast_2d(np.asarray(values, float))
        return np.repeat(values, frames, axis=0) if len(values) == 1 else values

    track = MotionTrack(25, HeadTrack.turning(rows(head)), rows(blink), rows(gaze), MouthControls(rows(mouth)))
    images = [paste(source.footage[f.source_index], f) for f in prepared.frames(track)]
    return images if len(images) > 1 else images[0]


def draw_mouth(source, prepared, mouth):
    """Return the frames for a track with only `mouth`."""
    track = MotionTrack(25, HeadTrack.still(len(mouth)), *np.zeros((2, len(mouth), 2)), mouth)
    return [paste(source.footage[f.source_index], f) for f in prepared.frames(track)]


def difference(source, image) -> np.ndarray:
    return np.abs(image.astype(int) - source.footage[0]).max(axis=-1)


def test_a_neutral_track_gives_the_source_exactly(source, prepared):
    assert (draw(source, prepared) == source.footage[0]).all()
    draw(source, prepared, head=(3, 5, 2), mouth=(0.1, 0, 0, 0, 0), blink=(1, 1), gaze=(1, 1))
    assert (draw(source, prepared) == source.footage[0]).all(), "also after it has moved"


def test_a_blink_changes_only_the_eyes(source, prepared):
    change = difference(source, draw(source, prepared, blink=(1, 1)))
    face = source.faces[0].landmarks[:, :2]
    iod = source.faces[0].pose.iod
    eyes = [face[[33, 133]].mean(axis=0), face[[362, 263]].mean(axis=0)]
    y, x = np.nonzero(change)
    near = np.minimum(*(np.hypot(x - ex, y - ey) for ex, ey in eyes))
    assert near.max() < 0.42 * iod
    assert change.max() > 40
    nose, brow = face[4].astype(int), face[105].astype(int)
    assert change[nose[1] - 5 : nose[1] + 5, nose[0] - 5 : nose[0] + 5].max() == 0
    assert change[brow[1] - 3 : brow[1] + 3, brow[0] - 3 : brow[0] + 3].max() == 0


def test_eyes_blink_independently(source, prepared):
    change = difference(source, draw(source, prepared, blink=(1, 0)))
    middle = int(source.faces[0].landmarks[168, 0])
    assert change[:, :middle].max() > 40 and change[:, middle:].max() == 0


def test_gaze_changes_only_the_eye_openings(source, prepared):
    face = source.faces[0].landmarks[:, :2]
    change = difference(source, draw(source, prepared, gaze=(1, 0)))
    y, x = np.nonzero(change > 2)
    for a, b in ((33, 133), (362, 263)):
        inside = (x > face[a, 0] - 2) & (x < face[b, 0] + 2)
        assert inside.any()
    assert y.min() > face[[159, 386], 1].min() - 3 and y.max() < face[[145, 374], 1].max() + 3


def test_the_mouth_does_not_change_the_upper_face(source, prepared):
    change = difference(source, draw(source, prepared, mouth=(0.15, 0.05, 0, 0, 0)))
    above = int(source.faces[0].landmarks[4, 1] - 0.15 * source.faces[0].pose.iod)
    assert change[:above].max() == 0
    assert change.max() > 60


@pytest.mark.parametrize("head", [(10, 10, 8), (-10, -10, -8), (0, 10, -8)])
def test_the_border_of_the_image_does_not_change(source, prepared, head):
    change = difference(source, draw(source, prepared, head=head))
    assert max(change[0].max(), change[-1].max(), change[:, 0].max(), change[:, -1].max()) == 0
    assert change.max() > 60


def test_extreme_values_are_limited(source, prepared):
    wild = draw(source, prepared, head=(90, -90, 90), mouth=(3, 3, 3, 3, 3), blink=(9, 9), gaze=(1, 1))
    tame = draw(source, prepared, head=(60, -60, 60), mouth=(2, 2, 2, 2, 2), blink=(1, 1), gaze=(1, 1))
    assert np.abs(wild.astype(int) - tame).max() <= 3


def test_small_changes_of_the_opening_give_small_changes_of_the_image(source, prepared):
    """There is no jump where the interior fades in."""
    own = source.faces[0].aperture
    openings = np.arange(-own, 0.08, 0.001)
    mouths = np.zeros((len(openings), 5))
    mouths[:, 0] = openings
    images = draw(source, prepared, len(openings), mouth=mouths)
    steps = [np.abs(b.astype(int) - a).mean() for a, b in zip(images[:-1], images[1:], strict=True)]
    assert max(steps) < 12 * (np.median(steps) + 1e-3)


def test_upper_teeth_do_not_follow_the_jaw(source, prepared):
    """The edge of the teeth stays where it is as the lower lip goes down."""
    x, y = source.faces[0].landmarks[13, :2].astype(int)

    def edges(opening):
        """Return the rows of the steepest fall and of the steepest rise of brightness under the upper lip."""
        column = draw(source, prepared, mouth=(opening, 0, 0, 0, 0))[y : y + 40, x - 3 : x + 12].mean(axis=(1, 2))
        change = np.diff(column[5:])  # beneath the shadow of the lip
        return int(np.argmin(change)), int(np.argmax(change))

    (teeth, lip), (teeth_wide, lip_wide) = edges(0.08), edges(0.16)
    assert abs(teeth - teeth_wide) <= 1
    assert lip_wide - lip >= 3


def test_sharpness_is_kept_under_small_motion(source, prepared):
    import cv2

    def sharpness(image):
        x0, y0 = source.faces[0].landmarks[:, :2].min(axis=0).astype(int)
        x1, y1 = source.faces[0].landmarks[:, :2].max(axis=0).astype(int)
        return cv2.Laplacian(cv2.cvtColor(image[y0:y1, x0:x1].copy(), cv2.COLOR_RGB2GRAY), cv2.CV_32F).var()

    ratios = [
        sharpness(draw(source, prepared, head=(0.3 * k, 0.5 * k, 0))) / sharpness(source.footage[0])
        for k in range(1, 6)
    ]
    assert min(ratios) > 0.85 and max(ratios) < 1.15


def test_frames_of_a_video_are_pasted_into_themselves(source):
    image = source.footage[0]
    video = Footage.from_frames("clip", [image, np.ascontiguousarray(image[:, ::-1])], fps=25)
    from liveportrait_talker.face.tracked import TrackedFace, TrackedSource

    mirrored = track(Footage.from_array("mirrored", np.ascontiguousarray(image[:, ::-1]))).faces[0]
    assert isinstance(mirrored, TrackedFace)
    prepared = EmbeddedRenderer().prepare(TrackedSource(video, (source.faces[0], mirrored)))
    frames = list(prepared.frames(MotionTrack.neutral(6)))
    assert [f.source_index for f in frames][:2] == [0, 1]
    for f in frames:
        assert (paste(video[f.source_index], f) == video[f.source_index]).all()


def test_lip_keypoints_equal_mouth_controls(source, prepared):
    """Lip keypoints are relative to closed lips, controls to the lips of the source."""
    asked = np.zeros((3, 5))
    asked[1:, 0] = 0.08, 0.16  # apertures
    lips = keypoints_from_controls(MouthControls(asked))
    by_lips = draw_mouth(source, prepared, lips)
    by_controls = draw_mouth(source, prepared, subtract_source_mouth(controls_from_keypoints(lips).values, source, 25))
    for one, other in zip(by_lips, by_controls, strict=True):
        np.testing.assert_array_equal(one, other)
    apertures = [track(Footage.from_array("draw", image)).faces[0].aperture for image in by_lips]
    assert apertures[0] < 0.03
    assert apertures[1] == pytest.approx(0.08, abs=0.03)
    assert apertures[2] > apertures[1] + 0.05
