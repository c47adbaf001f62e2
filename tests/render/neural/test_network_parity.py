"""State-dict keys of all networks, and equality with the original networks' outputs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.driving.sadtalker.nets.audio2pose import segment_count  # noqa: E402
from liveportrait_talker.driving.sadtalker.nets.face_3drecon import ANGLE, EXPRESSION, TRANSLATION, motion_coefficients  # noqa: E402
from liveportrait_talker.errors import WeightsError  # noqa: E402
from liveportrait_talker.pipelines.networks import build_network, neural_networks  # noqa: E402
from parity import MLP_KEYS, manifest, network_manifest, synthetic_weights  # noqa: E402


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def test_network_names():
    assert len(neural_networks()) == len(set(neural_networks())) == 11
    with pytest.raises(WeightsError, match="stitching"):
        build_network("face_parser")


@pytest.mark.parametrize("name", neural_networks())
def test_keys_and_shapes_equal_the_released_ones(name):
    with torch.device("meta"):
        net = build_network(name)
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == network_manifest(name)
    assert not net.training


def test_the_pose_file_also_contains_the_discriminator():
    extra = manifest("sadtalker_audio2pose_discriminator")
    assert extra and all(key.startswith("netD_motion.") for key in extra)
    assert not set(extra) & set(manifest("sadtalker_audio2pose"))


@pytest.mark.parametrize("name", [n for n in neural_networks() if n != "warping_module"])
def test_strict_loading(name):
    """Built on the CPU, without the meta device."""
    weights = {key: tensor(value) for key, value in synthetic_weights(name, "").items()}
    build_network(name).load_state_dict(weights, strict=True)
    missing = dict(list(weights.items())[1:])
    with pytest.raises(RuntimeError, match="Missing key"):
        build_network(name).load_state_dict(missing, strict=True)


def test_importing_the_names_loads_no_torch():
    code = (
        "import sys, liveportrait_talker.pipelines.networks as n\n"
        "assert len(n.neural_networks()) == 11 and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_appearance(golden, network, close):
    z = golden("liveportrait_appearance")
    volume = network("appearance_feature_extractor", z.salt)(tensor(z.input("image")))
    assert volume.shape[1:] == (32, 16, 64, 64)
    close(z.sliced("feature_3d", volume), z["feature_3d"], 1e-4)
    close(volume.mean(dim=(3, 4)), z["feature_3d_plane_mean"], 1e-4)


def test_motion(golden, network, close):
    z = golden("liveportrait_motion_extractor")
    heads = network("motion_extractor", z.salt)(tensor(z.input("image")))
    assert sorted(heads) == ["exp", "kp", "pitch", "roll", "scale", "t", "yaw"]
    for name, head in heads.items():
        close(head, z[f"raw_{name}"], 1e-5 if name in ("pitch", "yaw", "roll") else 2e-6)


def test_warping(golden, network, close):
    z = golden("liveportrait_warping")
    net = network("warping_module", z.salt)
    logits = []
    hook = net.dense_motion_network.mask.register_forward_hook(lambda *call: logits.append(call[-1]))
    source, driving = tensor(z.input("kp_source")), tensor(z.input("kp_driving"))
    seen = net(tensor(z.input("feature_3d")), kp_source=source, kp_driving=driving)
    hook.remove()
    assert sorted(seen) == ["deformation", "occlusion_map", "out"]
    close(z.sliced("out", seen["out"]), z["out"], 2e-4)
    close(seen["out"].mean(dim=(2, 3)), z["out_plane_mean"], 2e-4)
    close(seen["occlusion_map"], z["occlusion_map"], 2e-5)
    close(z.sliced("deformation", seen["deformation"]), z["deformation"], 5e-6)
    close(z.sliced("mask", logits[0].softmax(dim=1)), z["mask"], 2e-5)


def test_generator(golden, network, close):
    z = golden("liveportrait_generator")
    image = network("spade_generator", z.salt)(tensor(z.input("feature")))
    assert image.shape == (1, 3, 512, 512)
    close(z.sliced("image", image), z["image"], 2e-5)
    close(image, z["image_f16"], 5e-4)


def test_spectral_norm_uses_the_stored_vectors(network):
    """The largest singular value gives other weights (docs/method/liveportrait.md, Weights)."""
    layer = network("spade_generator", "").up_1.conv_s
    matrix = layer.weight_orig.flatten(1).double()
    sigma = layer.weight_u.double() @ matrix @ layer.weight_v.double()
    assert float(sigma) < 0.999 * float(torch.linalg.svdvals(matrix)[0])
    torch.testing.assert_close(layer.weight.double(), layer.weight_orig.double() / sigma, rtol=1e-5, atol=1e-7)


def test_points_networks(golden, network, close):
    z = golden("liveportrait_stitching")
    source, driving = (tensor(z.input(name)).flatten(1) for name in ("kp_source", "kp_driving"))
    nets = {name: network(name, z.salt) for name in MLP_KEYS}
    close(nets["stitching"](torch.cat([source, driving], dim=1)), z["stitch_delta"], 1e-6)
    for name, ratio, golden in (
        ("retarget_eye", "eye_ratio", "eye_delta"),
        ("retarget_lip", "lip_ratio", "lip_delta"),
    ):
        offsets = nets[name](torch.cat([source, tensor(z.input(ratio))], dim=1))
        close(offsets.view(-1, 21, 3), z[golden], 1e-6)


def test_audio2exp(golden, network, close):
    """The tolerance is tight, because the source's expression contributes 1.8e-3 and the blink ratio 2.5e-4."""
    z = golden("sadtalker_audio2exp")
    net = network("sadtalker_audio2exp", z.salt)
    mels = tensor(z["mels"][0])
    source = tensor(z["ref_coeff"][:64]).expand(len(mels), -1)
    close(net(mels, source, torch.zeros(len(mels), 1)), z["exp_blink_zero"][0], of_largest=1e-5)
    close(net(mels, source, tensor(z["ratio"][0])), z["exp_blink_ratio"][0], of_largest=1e-5)

    mels = tensor(z["random_mel"])
    close(net.audio_encoder(mels).flatten(1), z["random_embedding"], of_largest=1e-5)
    source, ratio = (tensor(z[name]).flatten(0, 1) for name in ("random_ref", "random_ratio"))
    close(net(mels, source, ratio), z["random_exp"].reshape(-1, 64), of_largest=1e-5)


def test_audio2exp_frames_are_independent(golden, network):
    z = golden("sadtalker_audio2exp")
    net, mels = network("sadtalker_audio2exp", z.salt), tensor(z["mels"][0][:7])
    source, blink = torch.zeros(7, 64), torch.zeros(7, 1)
    parts = [net(mels[i : i + 3], source[i : i + 3], blink[i : i + 3]) for i in (0, 3, 6)]
    torch.testing.assert_close(torch.cat(parts), net(mels, source, blink), rtol=1e-5, atol=1e-3)


def test_mappingnet(golden, network, close):
    z = golden("sadtalker_mappingnet")
    net = network("mappingnet", z.salt)
    for rows in ("inference28", "training29"):
        windows = z["coeffs"][z[f"window_index_{rows}"]].transpose(0, 2, 1)
        close(net(tensor(windows)), z[f"exp_{rows}"], of_largest=1e-5)


@pytest.mark.parametrize("rows", [25, 27, 40])
def test_mappingnet_accepts_lengths_from_25(network, rows):
    assert network("mappingnet", "")(torch.zeros(2, 64, rows)).shape == (2, 18)


def test_face_3drecon(golden, network, close):
    z = golden("sadtalker_face_3drecon")
    net = network("sadtalker_face_3drecon", z.salt)
    images = np.stack([z.image(str(seed), 224, 224) for seed in z["images_uint8_seed"]])
    faces = tensor(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    close(net.backbone(faces).flatten(1), z["backbone2048"], of_largest=1e-5)
    coefficients = net(faces)
    close(coefficients, z["coeffs257"], of_largest=1e-5)
    close(motion_coefficients(coefficients), z["coeffs70"], of_largest=1e-5)
    for part, name in ((EXPRESSION, "exp"), (ANGLE, "angle"), (TRANSLATION, "trans")):
        close(coefficients[:, part], z[f"split.{name}"], of_largest=1e-5)


def test_audio2pose_decoder(golden, network, close):
    z = golden("sadtalker_audio2pose")
    decoder = network("sadtalker_audio2pose", z.salt).netG.decoder
    motion = decoder(*(tensor(z[f"dec_{name}"]) for name in ("ref", "z", "class", "emb")))
    close(motion, z["dec_motion"], of_largest=1e-5)


@pytest.mark.parametrize("clip", ["full", "short", "chunks", "twelve", "three"])
def test_audio2pose(golden, network, close, clip):
    z = golden("sadtalker_audio2pose")
    net = network("sadtalker_audio2pose", z.salt)
    frames = int(z[f"{clip}.frames"])
    latents = tensor(z[f"{clip}.z"][None, : segment_count(frames)])
    pose = net(tensor(z["mels"][:, :frames]), tensor(z["ref_coeff"][None, 64:]), latents, torch.zeros(1).long())
    close(pose[0], z[f"{clip}.pose_raw"], of_largest=1e-5)
    close(net.audio_encoder(tensor(z["mels"][0, :4])), z["embed_first4"][0], of_largest=1e-5)


def test_audio2pose_does_not_mix_the_clips_of_a_batch(golden, network):
    """docs/earlier_systems.md, defect 29."""
    z = golden("sadtalker_audio2pose")
    net = network("sadtalker_audio2pose", z.salt)
    mels = tensor(np.concatenate([z["mels"], z["mels"][:, ::-1]]))
    pose = tensor(np.stack([z["ref_coeff"][64:], z["ref_coeff"][:6]]))
    latents, style = tensor(z["full.z"]).view(2, 2, 64), torch.tensor([3, 45])
    both = net(mels, pose, latents, style)
    for i in range(2):
        alone = net(mels[i : i + 1], pose[i : i + 1], latents[i : i + 1], style[i : i + 1])
        torch.testing.assert_close(both[i : i + 1], alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("frames", "segments"), [(1, 0), (2, 1), (33, 1), (34, 2), (65, 2)])
def test_audio2pose_accepts_any_length(network, frames, segments):
    """All latents are used, also for clips that end with a whole segment."""
    net = network("sadtalker_audio2pose", "")
    assert segment_count(frames) == segments
    mels, pose, style = torch.zeros(1, frames, 1, 80, 16), torch.ones(1, 6), torch.zeros(1).long()
    drawn = net(mels, pose, torch.zeros(1, segments, 64), style)
    assert drawn.shape == (1, frames, 6)
    torch.testing.assert_close(drawn[:, 0], pose)
    with pytest.raises(ValueError, match="latents"):
        net(mels, pose, torch.zeros(1, segments + 1, 64), style)
