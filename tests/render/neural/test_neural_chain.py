"""Chains of networks, from images and a voice to frames and lips."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.audio.mel import mel_spectrogram, mel_window_index, mel_windows  # noqa: E402
from liveportrait_talker.driving.sadtalker.nets.face_3drecon import motion_coefficients  # noqa: E402
from liveportrait_talker.driving.sadtalker.windows import coefficient_windows  # noqa: E402
from liveportrait_talker.driving.sadtalker.windows import window_index as coefficient_index  # noqa: E402
from liveportrait_talker.media.waveform import Waveform  # noqa: E402
from liveportrait_talker.render.neural.keypoints import FaceMotion, stitch, transform_keypoints  # noqa: E402


def test_liveportrait_chain(golden, network, close):
    z = golden("liveportrait_chain")
    with torch.inference_mode():
        images = {name: torch.from_numpy(z.input(name)) for name in ("source", "driving_0", "driving_1")}
        extractor = network("motion_extractor", z.salt)
        source, start, now = (FaceMotion.from_heads(extractor(image)) for image in images.values())
        rotation = now.rotation @ start.rotation.transpose(0, 2, 1) @ source.rotation
        x_d = transform_keypoints(
            source.keypoints,
            rotation,
            source.expression + now.expression - start.expression,
            source.scale * now.scale / start.scale,
            source.translation + now.translation - start.translation,
        )
        stitched = stitch(network("stitching", z.salt), source.points, x_d)
        close(source.points, z["x_s"], 1e-5)
        close(rotation, z["R_new"], 1e-5)
        close(x_d, z["x_d"], 1e-5)
        close(stitched, z["x_d_stitched"], 1e-5)

        volume = network("appearance_feature_extractor", z.salt)(images["source"])
        points = {
            "kp_source": torch.from_numpy(source.points).float(),
            "kp_driving": torch.from_numpy(stitched).float(),
        }
        seen = network("warping_module", z.salt)(volume, **points)
        drawn = network("spade_generator", z.salt)(seen["out"])
    close(z.sliced("occlusion_map", seen["occlusion_map"]), z["occlusion_map"], 2e-5)
    close(z.sliced("image", drawn), z["image"], 2e-4)
    frame = (drawn[0].permute(1, 2, 0).clamp(0, 1) * 255).to(torch.uint8).numpy()
    off = np.abs(z.sliced("frame_u8", frame).astype(int) - z["frame_u8"])
    assert off.max() <= 1 and (off > 0).mean() < 0.005


def test_voice_to_lips_chain(golden, network, close):
    z = golden("talker_chain")
    image = z.image(str(z["image_seed"]), 224, 224)
    face = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255))
    voice = Waveform(z["wav"], 16_000)
    frames = len(voice.samples) // 640
    mel = mel_spectrogram(voice, frames)
    with torch.inference_mode():
        source = motion_coefficients(network("sadtalker_face_3drecon", z.salt)(face))
        close(source[0], z["coeffs70"], of_largest=1e-5)
        expression = network("sadtalker_audio2exp", z.salt)(
            torch.from_numpy(mel_windows(mel, mel_window_index(frames, len(mel)))),
            source[:, :64].expand(frames, -1),
            torch.zeros(frames, 1),
        )
        close(expression, z["predicted_exp"], of_largest=1e-5)
        windows = coefficient_windows(expression.numpy(), coefficient_index(frames))
        close(network("mappingnet", z.salt)(torch.from_numpy(windows)), z["lip_exp"], of_largest=1e-5)
