"""The neural renderer with fake networks: keypoints, frames, crops and masks."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.cli.main import main  # noqa: E402
from liveportrait_talker.driving.sadtalker.driver import LearnedDriver  # noqa: E402
from liveportrait_talker.driving.sadtalker.networks import SadTalker  # noqa: E402
from liveportrait_talker.errors import OptionError, WeightsError  # noqa: E402
from liveportrait_talker.examples import PORTRAIT  # noqa: E402
from liveportrait_talker.face.crop import FaceCrop  # noqa: E402
from liveportrait_talker.face.liveportrait_crop import crop_pixels, portrait_crop  # noqa: E402
from liveportrait_talker.face.ratios import eye_ratios, lip_ratio  # noqa: E402
from liveportrait_talker.face.source_crop import crop_source  # noqa: E402
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource  # noqa: E402
from liveportrait_talker.face.tracker import track  # noqa: E402
from liveportrait_talker.media import Footage, open_footage  # noqa: E402
from liveportrait_talker.motion import HeadTrack, LipKeypoints, MotionTrack, MouthControls  # noqa: E402
from liveportrait_talker.motion.lips import LIP_KEYPOINTS as LIPS  # noqa: E402
from liveportrait_talker.options.sliders import FULL_BROWS, FULL_SMILE, ExpressionEdit  # noqa: E402
from liveportrait_talker.options.talk import TalkOptions  # noqa: E402
from liveportrait_talker.pipelines.engines import EngineChoice, Engines  # noqa: E402
from liveportrait_talker.render.neural.keypoints import FaceMotion  # noqa: E402
from liveportrait_talker.render.neural.liveportrait import LivePortrait  # noqa: E402
from liveportrait_talker.render.neural.renderer import (  # noqa: E402
    NeuralRenderer,
    NeuralSettings,
    network_image,
    whole_frame,
)
from liveportrait_talker.render.paste import paste  # noqa: E402
from liveportrait_talker.render.protocol import FaceFrame  # noqa: E402
from liveportrait_talker.system.devices import torch_device  # noqa: E402
from sounds import syllables, write_wav  # noqa: E402


class Sum(torch.nn.Module):
    """A retargeting or stitching network whose outputs are `size` times the sum of its last inputs."""

    def __init__(self, last: int, outputs: int = 63, size: float = 1.0) -> None:
        super().__init__()
        self.size = torch.nn.Parameter(torch.tensor(size, dtype=torch.float64))
        self.last, self.outputs = last, outputs

    def forward(self, rows):
        return self.size * rows[:, -self.last :].sum(dim=1, keepdim=True).expand(-1, self.outputs)


class FakeNetworks(LivePortrait):
    """Extracts a fixed motion, draws the crop it was given, and records the keypoints of each call."""

    def __init__(self, **networks) -> None:
        super().__init__(device="cpu", precision="fp32")
        self._networks = {"stitching": Sum(1, 65, 0.0), "retarget_eye": Sum(1), "retarget_lip": Sum(1)} | networks
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []
        self.extracted = 0

    def load(self):
        return self

    def motion(self, faces):
        self.extracted += len(faces)
        count = len(faces)
        rng = np.random.default_rng(0)
        means = np.stack([face.mean(axis=(0, 1)) for face in faces]) / 255  # makes frames differ
        return FaceMotion(
            np.repeat(rng.uniform(-0.4, 0.4, (1, 21, 3)), count, axis=0),
            np.repeat(rng.normal(0, 0.02, (1, 21, 3)), count, axis=0) + 0.01 * means[:, None],
            np.full((count, 1), 1.3),
            np.repeat(rng.normal(0, 0.1, (1, 3)), count, axis=0),
            np.repeat([[3.0, -4.0, 5.0]], count, axis=0),
        )

    def features(self, faces):
        return torch.from_numpy(np.stack([np.kron(f, np.ones((2, 2, 1), np.uint8)) for f in faces]))

    def draw(self, features, source, driving):
        self.calls.append((source, driving))
        return features.expand(len(driving), -1, -1, -1).numpy()


@pytest.fixture(scope="module")
def portrait() -> TrackedSource:
    return track(open_footage(PORTRAIT, max_side=600))


@pytest.fixture(scope="module")
def video(portrait) -> TrackedSource:
    """Five frames of increasing brightness; the fourth shows no face."""
    image = portrait.footage[0]
    frames = [np.clip(image.astype(int) + 12 * k, 0, 255).astype(np.uint8) for k in range(5)]
    return TrackedSource(
        Footage.from_frames("clip.mp4", frames, 25.0), portrait.faces * 5, (True, True, True, False, True)
    )


def neutral(frames: int, **channels) -> MotionTrack:
    given = {
        "fps": 25.0,
        "head": HeadTrack.still(frames),
        "blink": np.zeros((frames, 2)),
        "gaze": np.zeros((frames, 2)),
        "mouth": MouthControls.neutral(frames),
    }
    return MotionTrack(**(given | channels))


def points(source, track, *, settings=None, **networks):
    """Return source and driving keypoints of all frames."""
    seen = FakeNetworks(**networks)
    list(NeuralRenderer(seen, settings).prepare(source).frames(track))
    return tuple(np.concatenate([np.broadcast_to(a[k], a[1].shape) for a in seen.calls]) for k in (0, 1))


def test_a_neutral_track_gives_the_sources_keypoints(portrait, video):
    for source, frames in ((portrait, 3), (video, 5)):
        x_s, x_d = points(source, neutral(frames))
        np.testing.assert_allclose(x_d, x_s, atol=1e-9)


def test_the_drawn_face_is_pasted_in_place(portrait):
    """A generator that returns its source changes the image only by sampling it twice."""
    frame = next(NeuralRenderer(FakeNetworks()).prepare(portrait).frames(neutral(1)))
    assert frame.image.shape == (512, 512, 3) and frame.crop.size == (512, 512)
    image, pasted = portrait.footage[0], paste(portrait.footage[0], frame)
    assert np.abs(pasted.astype(int) - image).mean() < 3
    assert np.array_equal(pasted[:, :5], image[:, :5])  # far from the face
    softened = (cv2.blur(a.astype(np.float32), (9, 9)) for a in (pasted, image))
    assert np.abs(next(softened) - next(softened)).max() < 20  # no shift, no visible edge of the crop
    assert frame.crop.to_image[1, 2] < 0  # the crop begins above the image, whose first rows must not be darkened
    assert np.percentile(np.abs(pasted[0].astype(int) - image[0]), 95) < 8


def test_head_angles_have_the_motion_convention(portrait):
    """docs/method/conventions.md, Head angles: + yaw right, + pitch up, + roll counter-clockwise in the image."""
    still = FaceMotion(
        np.tile([0.0, 0.0, -0.4], (1, 21, 1)),  # all keypoints at the nose, towards the viewer
        np.zeros((1, 21, 3)),
        np.ones((1, 1)),
        np.zeros((1, 3)),
        np.zeros((1, 3)),
    )

    class Nose(FakeNetworks):
        def motion(self, faces):
            return still

    def moved(turn, face=still):
        seen = Nose()
        seen.motion = lambda faces: face
        list(NeuralRenderer(seen).prepare(portrait).frames(neutral(1, head=HeadTrack.turning(np.array([turn])))))
        x_s, x_d = seen.calls[0]
        return (x_d - x_s)[0, 0]

    assert moved([0, 10.0, 0])[0] > 0.05 and abs(moved([0, 10.0, 0])[1]) < 1e-9
    assert moved([10.0, 0, 0])[1] < -0.05
    ear = FaceMotion(
        np.tile([0.4, 0.0, 0.0], (1, 21, 1)), still.expression, still.scale, still.translation, still.rotation_deg
    )
    assert moved([0, 0, 10.0], ear)[1] < -0.05  # a keypoint at the right moves up


def test_shift_and_scale_are_in_image_units(portrait):
    crop = portrait_crop(portrait.faces[0].landmarks)
    head = HeadTrack(np.zeros((1, 3)), np.array([[0.1, -0.05]]), np.array([1.1]))
    x_s, x_d = points(portrait, neutral(1, head=head))
    moved_px = (x_d - x_s)[0].mean(axis=0)[:2] * 256  # in crop px, zoom included
    alone, _ = points(portrait, neutral(1, head=HeadTrack(np.zeros((1, 3)), np.zeros((1, 2)), np.array([1.1])))), None
    zoomed_px = (alone[1] - alone[0])[0].mean(axis=0)[:2] * 256
    in_picture = crop.to_image[:2, :2] @ (moved_px - zoomed_px)
    own = portrait.faces[0].crop
    np.testing.assert_allclose(in_picture, np.array([0.1, -0.05]) * own.scale * own.size[0], rtol=1e-6)


def test_blinks_retarget_all_frames_or_none(portrait):
    blink = np.zeros((3, 2))
    blink[1] = 1.0
    x_s, x_d = points(portrait, neutral(3, blink=blink))
    open_ratio = eye_ratios(portrait.faces[0].landmarks).mean()
    offsets = (x_d - x_s)[:, 0, 0]
    np.testing.assert_allclose(offsets, [open_ratio, 0.0, open_ratio], atol=1e-6)  # Sum returns the target ratio


def test_blinks_use_both_eyes(portrait):
    """The original used the left eye only."""
    one, other = (points(portrait, neutral(1, blink=np.array([b])))[1] for b in ([1.0, 0.0], [0.0, 1.0]))
    open_now = eye_ratios(portrait.faces[0].landmarks)
    np.testing.assert_allclose((one - other)[0, 0, 0], (open_now[1] - open_now[0]) / 2, atol=1e-6)


def test_gaze_moves_only_the_iris_keypoints(portrait):
    x_s, x_d = points(portrait, neutral(2, gaze=np.array([[1.0, 0.0], [0.0, -1.0]])))
    moved = np.abs(x_d - x_s).max(axis=(0, 2)) > 1e-9
    assert np.flatnonzero(moved).tolist() == [11, 15]
    assert (x_d - x_s)[0, 11, 0] > 0 and (x_d - x_s)[1, 11, 1] > 0  # right; down


def test_opening_controls_become_a_lip_ratio(portrait):
    opening = np.array([0.0, 0.1, 9.0])
    values = np.zeros((3, 5))
    values[:, 0] = opening
    x_s, x_d = points(portrait, neutral(3, mouth=MouthControls(values)))
    face = portrait.faces[0]
    wanted = np.minimum(lip_ratio(face.landmarks)[0] + opening / face.width, 0.8)
    np.testing.assert_allclose((x_d - x_s)[:, 0, 0], wanted, atol=1e-6)


def test_shape_controls_move_only_the_lips(portrait):
    x_s, x_d = points(portrait, neutral(1, mouth=MouthControls(np.array([[0, 0.05, 0, 0, 0.02]]))))
    moved = np.flatnonzero(np.abs(x_d - x_s).max(axis=(0, 2)) > 1e-9)
    assert len(moved) and set(moved.tolist()) <= set(LIPS)


def test_learned_lips_start_from_a_closed_mouth(portrait):
    track_ = neutral(2, mouth=LipKeypoints(np.zeros((2, 6, 3))))
    parted = float(lip_ratio(portrait.faces[0].landmarks)[0]) >= 0.03
    unchanged = NeuralSettings(normalize_lip=False)
    x_s, x_d = points(portrait, track_, settings=unchanged)
    np.testing.assert_allclose(x_d, x_s, atol=1e-9)
    x_s, x_d = points(portrait, track_, retarget_lip=Sum(2))
    change = float(lip_ratio(portrait.faces[0].landmarks)[0]) if parted else 0.0
    np.testing.assert_allclose(x_d - x_s, change, atol=1e-6)


def test_lips_of_a_video_start_from_its_mouth_at_rest(video):
    """Not from the frame's own mouth, nor from that of frame 0 (docs/method/liveportrait.md, Differences)."""
    lips = np.zeros((5, 6, 3))
    lips[:, 4, 1] = 0.02
    seen = FakeNetworks()
    face = NeuralRenderer(seen).prepare(video)
    list(face.frames(neutral(5, mouth=LipKeypoints(lips))))
    x_d = np.concatenate([d for _, d in seen.calls])[:, LIPS]
    assert len(x_d) == 4  # one frame shows no face
    np.testing.assert_allclose(x_d, np.repeat(x_d[:1], 4, axis=0), atol=1e-9)  # the same mouth in every frame
    others = np.concatenate([d for _, d in seen.calls])[:, 0]
    assert np.ptp(others, axis=0).max() > 1e-4  # the rest of the face differs between frames


def test_frames_without_a_face_are_unchanged(video):
    frames = list(NeuralRenderer(FakeNetworks()).prepare(video).frames(neutral(5)))
    assert [f.source_index for f in frames] == [0, 1, 2, 3, 4]
    gone = paste(video.footage[3], frames[3])
    assert np.array_equal(gone, video.footage[3])
    assert not np.array_equal(frames[0].image, frames[4].image)


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_results_do_not_depend_on_the_batch_size(portrait, video, batch):
    rng = np.random.default_rng(0)
    for source in (portrait, video):
        busy = neutral(
            7,
            head=HeadTrack(rng.normal(0, 3, (7, 3)), rng.normal(0, 0.01, (7, 2)), rng.uniform(0.95, 1.05, 7)),
            blink=rng.uniform(0, 1, (7, 2)),
            gaze=rng.uniform(-1, 1, (7, 2)),
            mouth=LipKeypoints(rng.normal(0, 0.01, (7, 6, 3))),
        )
        _, one = points(source, busy, settings=NeuralSettings(batch_size=1))
        _, many = points(source, busy, settings=NeuralSettings(batch_size=batch))
        np.testing.assert_allclose(many, one, atol=1e-12)


def test_motion_of_an_image_is_extracted_once(portrait):
    seen = FakeNetworks()
    face = NeuralRenderer(seen).prepare(portrait)
    list(face.frames(neutral(4)))
    list(face.frames(neutral(4)))
    assert seen.extracted == 1


def test_multiplier_and_stitching_settings(portrait):
    head = HeadTrack.turning(np.array([[0, 10.0, 0]]))
    x_s, whole = points(portrait, neutral(1, head=head))
    _, half = points(portrait, neutral(1, head=head), settings=NeuralSettings(driving_multiplier=0.5))
    np.testing.assert_allclose(half - x_s, (whole - x_s) / 2, atol=1e-9)
    moving = Sum(1, 65, 0.1)
    _, stitched = points(portrait, neutral(1, head=head), stitching=moving)
    _, free = points(portrait, neutral(1, head=head), stitching=moving, settings=NeuralSettings(stitching=False))
    assert np.abs(stitched - whole).max() > 1e-3
    np.testing.assert_allclose(free, whole, atol=1e-12)


def test_crop_settings(portrait):
    def crop(**settings) -> FaceCrop:
        return next(
            NeuralRenderer(FakeNetworks(), NeuralSettings(**settings)).prepare(portrait).frames(neutral(1))
        ).crop

    plain = crop()
    assert crop(crop_scale=3.0).scale / plain.scale == pytest.approx(3.0 / 2.3, rel=1e-3)
    right = crop(crop_vx=0.1).to_image @ [256, 256, 1] - plain.to_image @ [256, 256, 1]
    assert right[0] > 0 and np.hypot(*right[:2]) == pytest.approx(0.1 * 512 * plain.scale, rel=1e-3)
    down = crop(crop_vy=0.0).to_image @ [256, 256, 1] - plain.to_image @ [256, 256, 1]
    assert down[1] > 0


def test_whole_frames_are_letterboxed():
    """docs/earlier_systems.md, defect 14. The crop is not feathered, because it covers the whole frame."""
    assert whole_frame((512, 512)).corner == (0, 0)
    wide = whole_frame((800, 400))
    np.testing.assert_allclose(wide.to_image @ [256, 256, 1], [400, 200, 1])
    assert wide.scale == pytest.approx(800 / 512)
    image = np.full((400, 800, 3), 200, np.uint8)
    seen = network_image(image, wide)
    assert seen.shape == (256, 256, 3) and not seen[:60].any() and (seen[70:186] == 200).all()


def test_a_cropped_source_is_not_resampled(portrait):
    image = np.pad(portrait.footage[0], ((300, 300), (300, 300), (0, 0)), mode="edge")
    face = TrackedFace(portrait.faces[0].landmarks + np.array([300, 300, 0]))
    cut = crop_source(TrackedSource(Footage.from_array("large.png", image), (face,)))
    frame = next(NeuralRenderer(FakeNetworks()).prepare(cut).frames(neutral(1)))
    assert frame.alpha is None and frame.crop.corner == (0, 0)


def test_large_faces_are_reduced_by_averaging():
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    small = network_image(stripes, whole_frame((2048, 2048)))
    assert np.abs(small[8:-8, 8:-8].astype(int) - 128).max() < 24
    plain = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    identity = FaceCrop.window(0, 0, 512, 512)
    assert np.array_equal(crop_pixels(plain, identity), plain)


class Broken(torch.nn.Module):
    """A generator that returns invalid images in half precision."""

    def __init__(self, value: float, *, always: bool = False) -> None:
        super().__init__()
        self.dtype_of = torch.nn.Parameter(torch.zeros(1))
        self.value, self.always = value, always

    def forward(self, x):
        bad = self.always or self.dtype_of.dtype != torch.float32
        value = self.value if bad else 0.5
        return torch.full((len(x), 3, 512, 512), value, dtype=self.dtype_of.dtype)


class Warp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, feature_3d, *, kp_source, kp_driving):
        assert feature_3d.dtype == torch.float32 and torch.isfinite(feature_3d).all()
        return {"out": feature_3d[:, 0]}


@pytest.mark.parametrize("value", [float("nan"), 0.0, float("inf")])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_invalid_images_in_half_precision_switch_to_fp32(monkeypatch, caplog, value, precision):
    made = {"warping_module": Warp, "spade_generator": lambda: Broken(value)}
    home = "liveportrait_talker.render.neural.liveportrait"
    monkeypatch.setattr(f"{home}.load_network", lambda name, build, *, file: made[name]())
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    monkeypatch.setattr(f"{home}.torch_dtype", lambda name, device: dtype)
    networks = LivePortrait(device="cpu", precision=precision)
    image = networks.draw(torch.full((1, 32, 16, 8, 8), 1e5), np.zeros((1, 21, 3)), np.zeros((2, 21, 3)))
    assert image.shape == (2, 512, 512, 3) and (image == 127).all()
    assert networks.precision == "fp32"
    assert [r.message for r in caplog.records] == [
        f"{precision} gives no valid image on cpu: drawing continues in fp32."
    ]
    made["spade_generator"] = lambda: Broken(value, always=True)
    with pytest.raises(WeightsError, match="only black images"):
        LivePortrait(device="cpu", precision=precision).draw(
            torch.zeros(1, 32, 16, 8, 8), np.zeros((1, 21, 3)), np.zeros((1, 21, 3))
        )


def test_building_a_network_without_weights_loads_no_compiler():
    """`F.normalize` on the meta device would import torch's compiler, which takes a second."""
    code = (
        "import sys, torch\n"
        "from liveportrait_talker.pipelines.networks import build_network, neural_networks\n"
        "with torch.device('meta'): nets = [build_network(name) for name in neural_networks()]\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_brighter_face_leaves_no_seam(portrait):
    """docs/earlier_systems.md, defect 47: the crop's edge is feathered."""

    class Brighter(FakeNetworks):
        def draw(self, features, source, driving):
            return np.clip(super().draw(features, source, driving).astype(int) + 60, 0, 255).astype(np.uint8)

    grey = np.full((760, 760, 3), 120, np.uint8)
    face = TrackedFace(portrait.faces[0].landmarks + np.array([80, 80, 0]))
    source = TrackedSource(Footage.from_array("grey.png", grey), (face,))
    frame = next(NeuralRenderer(Brighter()).prepare(source).frames(neutral(1)))
    added = paste(grey, frame).astype(int)[..., 0] - 120
    assert added.max() == 60 and added.min() >= -2
    ramp = 60 / (16 * frame.crop.scale)  # levels per px of the image
    assert max(np.abs(np.diff(added, axis=axis)).max() for axis in (0, 1)) < 2.5 * ramp + 2


@pytest.mark.parametrize(("upper", "lower"), [(159, 145), (386, 374)])
def test_the_eye_network_gets_the_ratio_of_each_eye(portrait, upper, lower):
    """docs/earlier_systems.md, defect 24: not the larger of both."""
    received = []

    class RecordingRetarget(Sum):
        def forward(self, rows):
            received.append(rows[:, -3:].numpy())
            return super().forward(rows)

    landmarks = portrait.faces[0].landmarks.copy()
    landmarks[upper] = (landmarks[upper] + 3 * landmarks[lower]) / 4  # half closed
    left, right = eye_ratios(landmarks)
    assert (left < 0.6 * right) if upper == 159 else (right < 0.6 * left)
    source = TrackedSource(portrait.footage, (TrackedFace(landmarks),))
    points(source, neutral(2, blink=np.array([[0.0, 0.0], [1.0, 0.0]])), retarget_eye=RecordingRetarget(1))
    np.testing.assert_allclose(
        np.concatenate(received), [[left, right, (left + right) / 2], [left, right, right / 2]], atol=1e-6
    )


def test_a_video_is_processed_in_batches_on_demand(portrait):
    """docs/earlier_systems.md, defects 53 and 54."""
    video = TrackedSource(Footage.from_frames("clip.mp4", [portrait.footage[0]] * 9, 25.0), portrait.faces * 9)
    seen = FakeNetworks()
    frames = NeuralRenderer(seen, NeuralSettings(batch_size=3)).prepare(video).frames(neutral(9))
    assert seen.extracted == 0
    for k, _ in enumerate(frames):
        assert seen.extracted == 3 * (k // 3 + 1)
    assert [len(driving) for _, driving in seen.calls] == [3, 3, 3]


def test_blinks_and_lips_are_added_to_the_heads_motion(portrait):
    """LivePortrait's relative mode discards the motion where eyes or lips are retargeted."""
    turned = {"head": HeadTrack.turning(np.array([[4.0, 10.0, 0.0]]))}
    shut, opened = {"blink": np.ones((1, 2))}, {"mouth": MouthControls(np.array([[0.1, 0, 0, 0, 0]]))}
    x_s, by_head = points(portrait, neutral(1, **turned))
    for other in (shut, opened):
        _, alone = points(portrait, neutral(1, **other))
        _, both = points(portrait, neutral(1, **turned, **other))
        np.testing.assert_allclose(both - x_s, (by_head - x_s) + (alone - x_s), atol=1e-6)
    assert np.abs(by_head - x_s).max() > 0.02


def test_the_default_device_is_the_fastest_available(monkeypatch):
    """docs/earlier_systems.md, defect 58."""
    for cuda, mps, wanted in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda here=cuda: here)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda here=mps: here)
        assert torch_device().type == torch_device("auto").type == wanted
        assert torch_device("cpu").type == "cpu"
    for absent in ("mps", "cuda", "cuda:1"):
        with pytest.raises(OptionError, match=f"device {absent} is not available.*use --device auto"):
            torch_device(absent)
    assert TalkOptions().device == "auto"


def test_library_defaults_equal_the_command_lines(monkeypatch):
    """In LivePortrait they differ."""
    monkeypatch.setattr(LivePortrait, "load", lambda networks: networks)
    monkeypatch.setattr(SadTalker, "load", lambda networks, names: networks)
    options, engines = TalkOptions(device="cpu"), Engines()
    renderer = engines.renderer(EngineChoice("neural", ""), options)
    assert renderer.settings == NeuralSettings()
    by_options, plain = engines.driver(EngineChoice("learned", ""), options), LearnedDriver(engines.sadtalker(options))
    assert vars(by_options) == vars(plain)


def test_the_mouth_at_rest_is_closed_in_a_video_that_begins_with_an_open_mouth(portrait):
    """The original's audio loop uses the mouth of frame 0."""
    landmarks, dark = portrait.faces[0].landmarks.copy(), portrait.footage[0] // 4
    landmarks[[14, 87, 317], 1] += 0.2 * portrait.faces[0].pose.iod
    faces = (TrackedFace(landmarks),) * 2 + portrait.faces * 18
    source = TrackedSource(Footage.from_frames("clip.mp4", [portrait.footage[0]] * 2 + [dark] * 18, 25.0), faces)
    assert faces[0].aperture > faces[2].aperture + 0.1
    x_s, x_d = points(source, neutral(20, mouth=LipKeypoints(np.zeros((20, 6, 3)))))
    np.testing.assert_allclose(x_d[2:], x_s[2:], atol=1e-9)
    assert np.abs(x_d[:2] - x_s[:2])[:, LIPS].max() > 1e-3, "the open mouth is closed there"


def test_invalid_files_are_reported_before_a_network_is_loaded(capsys, tmp_path, monkeypatch):
    """docs/earlier_systems.md, defect 11."""

    def no_network(*given, **more):
        raise AssertionError("a network was loaded")

    monkeypatch.setattr("liveportrait_talker.pipelines.engines.missing_networks", lambda networks: ())
    monkeypatch.setattr("liveportrait_talker.weights.importing.load_network", no_network)
    monkeypatch.setattr("liveportrait_talker.render.neural.liveportrait.load_network", no_network)
    voice = write_wav(tmp_path / "voice.wav", syllables(0.3))
    (tmp_path / "note.png").write_bytes(b"no picture at all")
    for source, sound, name in (
        (tmp_path / "none.jpg", voice, "none.jpg"),
        (tmp_path / "note.png", voice, "note.png"),
        (PORTRAIT, tmp_path / "none.wav", "none.wav"),
    ):
        words = ["generate", source, sound, "-o", tmp_path / "o.mp4", "--renderer", "neural"]
        assert main([str(word) for word in words]) == 2
        assert name in capsys.readouterr().err


@pytest.mark.parametrize("size", [(512, 512), (768, 768), (1024, 700), (2048, 2048)])
def test_whole_frames_are_not_darkened_at_the_border(size):
    width, height = size
    image = np.full((height, width, 3), 200, np.uint8)
    face = FaceFrame(np.full((512, 512, 3), 200, np.uint8), None, whole_frame(size), 0)
    assert (paste(image, face) == 200).all()


def test_repeated_source_frames_are_processed_once(portrait):
    """25 source frames a second drawn at 60."""
    frames = [np.clip(portrait.footage[0].astype(int) + k, 0, 255).astype(np.uint8) for k in range(4)]
    video = TrackedSource(Footage.from_frames("clip.mp4", frames, 25.0), portrait.faces * 4)
    seen = FakeNetworks()
    drawn = list(NeuralRenderer(seen).prepare(video).frames(neutral(9, fps=60.0)))
    assert len(drawn) == 9 and seen.extracted == 4
    assert all(np.array_equal(frame.picture, video.footage[frame.source_index]) for frame in drawn)


def test_crops_beyond_the_image(portrait):
    """Black outside the image for M, as in LivePortrait; repeated edges for F, whose black would be drawn."""
    shown = {}

    class Both(FakeNetworks):
        def motion(self, faces):
            shown["M"] = faces[0]
            return super().motion(faces)

        def features(self, faces):
            shown["F"] = faces[0]
            return super().features(faces)

    NeuralRenderer(Both()).prepare(portrait)
    assert (shown["M"][0] == 0).all(axis=-1).any() and not (shown["F"][0] == 0).all(axis=-1).any()


def test_too_little_memory_is_an_error(monkeypatch):
    networks = LivePortrait(device="cpu", precision="fp32")

    def full(*_):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(networks, "_decode", full)
    points = np.zeros((4, 21, 3))
    with pytest.raises(OptionError, match=r"too little memory for 4 frame.* give --batch-size 2"):
        networks.draw(torch.zeros(1), points[:1], points)
    with pytest.raises(OptionError, match="give --device cpu"):
        networks.draw(torch.zeros(1), points[:1], points[:1])


def test_precisions_that_the_cpu_would_emulate_are_errors(monkeypatch):
    """fp16 on a CPU takes minutes a frame."""
    from liveportrait_talker.system import devices

    cpu = torch.device("cpu")
    with pytest.raises(OptionError, match="precision fp16 is not supported by this CPU"):
        devices.torch_dtype("fp16", cpu)
    monkeypatch.setattr(devices, "has_bf16", lambda: False)
    monkeypatch.setattr(devices, "prefers_bf16", lambda: False)
    assert devices.torch_dtype("auto", cpu) == torch.float32
    with pytest.raises(OptionError, match="precision bf16 is not supported by this CPU"):
        devices.torch_dtype("bf16", cpu)
    monkeypatch.setattr(devices, "has_bf16", lambda: True)
    monkeypatch.setattr(devices, "prefers_bf16", lambda: True)
    assert devices.torch_dtype("auto", cpu) == torch.bfloat16
    assert devices.torch_dtype("auto", torch.device("cuda")) == torch.float16
    with pytest.raises(OptionError, match="not known"):
        devices.torch_dtype("int8", cpu)


def test_brows_and_smiles_are_drawn_as_the_editors_sliders(portrait):
    _, still = points(portrait, neutral(2))
    _, same = points(portrait, neutral(2, brows=np.zeros((2, 2)), inner_brows=np.zeros(2), smile=np.zeros(2)))
    np.testing.assert_array_equal(same, still)
    _, raised = points(portrait, neutral(2, brows=np.full((2, 2), FULL_BROWS)))
    wanted = 1.3 * ExpressionEdit(eyebrow=15).expression()  # times the source's scale
    np.testing.assert_allclose(raised - still, np.broadcast_to(wanted, raised.shape), atol=1e-7)
    _, frowning = points(portrait, neutral(2, inner_brows=np.full(2, -0.04)))
    frown = ExpressionEdit(eyebrow=-1).expression()
    moved = np.abs(frown) > 0
    assert (np.sign((frowning - still)[0][moved]) == np.sign(frown[moved])).all()
    _, smiling = points(portrait, neutral(2, smile=np.full(2, FULL_SMILE)))
    change, smile = (smiling - still)[0], 1.3 * ExpressionEdit(smile=1).expression()
    np.testing.assert_allclose(np.delete(change, 19, axis=0), np.delete(smile, 19, axis=0), atol=1e-7)
    np.testing.assert_allclose(change[19], change[20], atol=1e-9, err_msg="shut lips stay shut")
