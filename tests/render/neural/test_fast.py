"""The fast twins of W and G against their definitions, and their parts against plain torch."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from liveportrait_talker.errors import WeightsError  # noqa: E402
from liveportrait_talker.render.neural import liveportrait  # noqa: E402
from liveportrait_talker.render.neural.fast import Convolutions, FastGenerator, FastWarping  # noqa: E402
from liveportrait_talker.render.neural.fast import winograd as winograd_module  # noqa: E402
from liveportrait_talker.render.neural.fast.convolution import DepthSpectrum  # noqa: E402
from liveportrait_talker.render.neural.fast.fields import (  # noqa: E402
    motion_fields,
    motion_fields_in_one_pass,
    translated,
)
from liveportrait_talker.render.neural.fast.modulation import Modulated, ModulatedInOnePass  # noqa: E402
from liveportrait_talker.render.neural.fast.packed import PackedConv, packs  # noqa: E402
from liveportrait_talker.render.neural.fast.sampling import sampled, sampled_by_cells  # noqa: E402
from liveportrait_talker.render.neural.fast.winograd import WinogradConv, WinogradDepthConv, pays  # noqa: E402
from liveportrait_talker.render.neural.nets.warping import coordinate_grid  # noqa: E402
from liveportrait_talker.system.devices import has_bf16  # noqa: E402

THREADS = torch.get_num_threads()
WINOGRADS = 65  # of G's convolutions: all with many channels
EXACT = 2e-5  # rounding of float32, for sums of numbers near 1


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def volume(x: torch.Tensor) -> torch.Tensor:
    """(B, C, D, H, W) → (B·D, C, H, W), channels last."""
    return x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def case(network):
    """Two sources with their driving points, and what the definitions make of them."""
    torch.manual_seed(0)
    feature, source = torch.randn(2, 32, 16, 64, 64), 0.4 * torch.rand(2, 21, 3) - 0.2
    driving = source + 0.05 * torch.randn(2, 21, 3)
    with torch.inference_mode():
        warped = network("warping_module", "")(feature, kp_source=source, kp_driving=driving)
        return (feature, source, driving), warped, network("spade_generator", "")(warped["out"][:1])


def psnr(actual: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(-10 * torch.log10((actual.float() - wanted).square().mean()))


WAYS = {
    "graphics processor": Convolutions(torch.float32, volumes=True),
    "elsewhere": Convolutions(torch.float32),
    "processor": Convolutions(torch.float32, winograd=True, packed=packs(), processor=True),
    "processor with bf16": Convolutions(torch.float32, packed=packs(), processor=True),
    "processor with AMX": Convolutions(torch.float32, volumes=True, packed=packs(), processor=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_warping_is_the_definition(network, case, way):
    (feature, source, driving), wanted, _ = case
    with torch.inference_mode():
        twin = FastWarping(network("warping_module", ""), WAYS[way])
        seen = twin(feature, kp_source=source, kp_driving=driving)
    kinds = [type(part) for part in twin.modules()]
    assert kinds.count(WinogradDepthConv) == (6 if way == "processor" else 0)
    assert kinds.count(PackedConv) == (
        0 if not packs() or not WAYS[way].processor else 19 if way == "processor" else 25
    )
    for name, allowed in (("out", 2e-4), ("occlusion_map", 2e-5), ("deformation", 5e-6)):  # the goldens' tolerances
        assert (seen[name] - wanted[name]).abs().max() <= allowed, name


def test_two_frames_of_one_source_are_two_frames(network, case):
    """As the renderer asks for them: the volume and its points are repeated without memory."""
    (feature, source, driving), _, _ = case
    with torch.inference_mode():
        twin = FastWarping(network("warping_module", ""), WAYS["processor"])
        both = twin(feature[:1].expand(2, -1, -1, -1, -1), kp_source=source[:1].expand(2, -1, -1), kp_driving=driving)
        for k in range(2):
            one = twin(feature[:1], kp_source=source[:1], kp_driving=driving[k : k + 1])
            torch.testing.assert_close(both["out"][k : k + 1], one["out"], atol=EXACT, rtol=EXACT)


@pytest.mark.parametrize("way", WAYS)
def test_generator_is_the_definition(network, case, way):
    _, warped, wanted = case
    with torch.inference_mode():
        twin = FastGenerator(network("spade_generator", ""), WAYS[way])
        seen = twin(warped["out"][:1])
    assert sum(isinstance(part, WinogradConv) for part in twin.modules()) == (WINOGRADS if way == "processor" else 0)
    assert (seen - wanted).abs().max() <= 2e-5


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bf16, and imitating it takes a minute")
def test_both_in_half_precision(network, case):
    """Issue bar: PSNR ≥ 40 dB against the definitions in float32."""
    (feature, source, driving), _, wanted = case
    with torch.inference_mode():
        conv = Convolutions.for_device(torch.device("cpu"), torch.bfloat16)
        warped = FastWarping(network("warping_module", ""), conv)(
            feature[:1], kp_source=source[:1], kp_driving=driving[:1]
        )
        seen = FastGenerator(network("spade_generator", ""), conv)(warped["out"])
    assert psnr(seen, wanted) >= 43


@given(
    st.sampled_from([way for way in WAYS if not WAYS[way].winograd]),
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(2, 6),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_convolutions_in_depth(way, batch, depth, height, inputs, outputs):
    x, weight, bias = (
        random(batch, inputs, depth, height, height + 1),
        random(outputs, inputs, 3, 3, 3),
        random(outputs),
    )
    wanted = F.relu(F.conv3d(x, weight, bias, padding=1))
    seen = WAYS[way].deep(weight, bias, depth)(volume(x))
    torch.testing.assert_close(seen, volume(wanted), atol=EXACT, rtol=EXACT)
    wanted = F.relu(F.conv3d(F.interpolate(x, scale_factor=(1, 2, 2)), weight, bias, padding=1))
    seen = WAYS[way].deep(weight, bias, depth, doubled=True)(volume(x))
    torch.testing.assert_close(seen, volume(wanted), atol=EXACT, rtol=EXACT)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_done_after_the_sums(way, relu):
    """Another size than the first, too: weights are laid out for that one."""
    weight, bias = random(64, 64, 3, 3), random(64)
    conv = WAYS[way](weight, bias, relu=relu)
    for height in (6, 9):
        x, plus = (random(1, 64, height, width).contiguous(memory_format=torch.channels_last) for width in (8, 8))
        sums = F.conv2d(x, weight, bias, padding=1)
        for seen, wanted in ((conv(x), sums), (conv(x, plus.clone()), sums + plus)):
            torch.testing.assert_close(seen, wanted.relu() if relu else wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_are_no_numbers_are_refused(way):
    """oneDNN's ReLU would make zeros of them, and a picture that looks like one."""
    weight, bias = random(64, 64, 3, 3, 3), random(64)
    weight[3, 2, 1, 0, 0] = torch.nan
    for make in (
        lambda: WAYS[way](weight[:, :, 1], bias),
        lambda: WAYS[way].deep(weight, bias, 2),
        lambda: WAYS[way].deep(weight, bias, 2, doubled=True),
        lambda: WAYS[way].repeated(weight[:, :, 1], bias, 4),
    ):
        with pytest.raises(WeightsError, match="no number"):
            make()


def last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@given(
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(2, 4),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_spade_in_one_pass(batch, height, width, channels, doubles, shortens, half):
    dtype, times = torch.bfloat16 if half else torch.float32, 2 if doubles else 1
    x = last(10 + 3 * random(batch, channels, height, width)).to(dtype)
    gamma, beta, shortcut = (
        last(random(batch, channels, times * height, times * width).to(dtype)) + k for k in range(3)
    )
    given = (gamma, beta, shortcut if shortens else None)
    wanted = Modulated(doubles=doubles)(x.float(), *(None if part is None else part.float() for part in given))
    plain = F.instance_norm(x.float())
    plain = F.interpolate(plain, scale_factor=2) if doubles else plain
    torch.testing.assert_close(wanted[0], F.leaky_relu(plain * gamma.float() + beta.float(), 0.2), atol=1e-4, rtol=1e-4)
    seen = ModulatedInOnePass(doubles=doubles)(x, *given)
    assert (seen[1] is None) == (not shortens)
    for a, b in zip(seen, wanted, strict=True):
        if a is not None:
            assert a.dtype == dtype and a.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(a.float(), b, atol=1e-4, rtol=2**-8 if half else 1e-4)


@pytest.mark.parametrize("odd", [1.0, 1e2, 1e4])
def test_spade_loses_no_digits_by_an_odd_corner_or_a_large_mean(odd):
    x = last(random(1, 3, 256, 256) + 5 * odd)
    x[0, :, 0, 0] += odd
    one, none = torch.ones_like(x), torch.zeros_like(x)
    wanted = F.leaky_relu(F.instance_norm(x.double()), 0.2)
    rounding = 1e-6 * max(1, 5 * odd)  # of what x itself holds
    assert (ModulatedInOnePass()(x, one, none)[0] - wanted).abs().max() < rounding + 1e-6 * odd


def test_spade_rounds_to_the_even_one_and_keeps_what_is_no_number():
    """bfloat16 as torch rounds it; NaN must reach the picture, which is then drawn anew."""
    x = torch.zeros(1, 4, 1, 2, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    beta = torch.randn(1, 4, 1, 2).abs().to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    beta[0, 0, 0, 0], beta[0, 1, 0, 0] = torch.inf, torch.nan
    seen, _ = ModulatedInOnePass()(x, torch.ones_like(beta), beta)
    torch.testing.assert_close(seen, beta, equal_nan=True, atol=0, rtol=0)


@given(
    st.integers(1, 2),
    st.integers(1, 17),
    st.integers(1, 17),
    st.sampled_from([1, 7, 64, 70]),
    st.sampled_from([1, 5, 64, 142]),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_winograd_is_the_plain_sum(count, height, width, inputs, outputs, has_bias):
    x = random(count, inputs, height, width).contiguous(memory_format=torch.channels_last)
    weight, bias = random(outputs, inputs, 3, 3), random(outputs) if has_bias else None
    wanted = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1).float()
    seen = WinogradConv(weight, bias)(x)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(seen, wanted, atol=5e-5 * inputs**0.5, rtol=0)


@given(st.integers(1, 2), st.integers(1, 4), st.integers(1, 9), st.sampled_from([3, 64, 70]), st.sampled_from([2, 64]))
@settings(max_examples=20, deadline=None)
def test_winograd_in_depth(batch, depth, height, inputs, outputs):
    x, weight = random(batch, inputs, depth, height, height + 1), random(outputs, inputs, 3, 3, 3)
    bias = random(outputs)
    wanted = F.conv3d(x.double(), weight.double(), bias.double(), padding=1).float()
    seen = WinogradDepthConv(weight, bias, depth)(volume(x))
    torch.testing.assert_close(seen, volume(wanted), atol=1e-4 * inputs**0.5, rtol=0)


def test_winograd_is_taken_where_it_pays():
    cpu, bf16 = torch.device("cpu"), torch.bfloat16
    assert Convolutions.for_device(cpu, torch.float32).winograd
    assert not Convolutions.for_device(cpu, bf16).winograd
    assert not Convolutions.for_device(torch.device("cuda"), torch.float32).winograd
    assert pays(512, 512) and pays(110, 64) and not pays(64, 12)


def test_the_renderer_takes_it_on_a_processor(network, monkeypatch):
    monkeypatch.setattr(liveportrait, "load_network", lambda name, build, file=None: network(name, ""))
    networks = liveportrait.LivePortrait(device="cpu", precision="fp32")
    assert any(isinstance(part, WinogradConv) for part in networks.network("spade_generator").modules())
    assert any(isinstance(part, WinogradDepthConv) for part in networks.network("warping_module").modules())


def test_a_twin_shares_nothing_with_the_file_of_the_weights(network, monkeypatch):
    reference = network("spade_generator", "")
    monkeypatch.setattr(liveportrait, "load_network", lambda name, build, file=None: reference)
    twin = liveportrait.LivePortrait(device="cpu", precision="fp32").network("spade_generator")
    shared = {tensor.data_ptr() for tensor in reference.state_dict().values()}
    kernels = [part.kernel for part in twin.modules() if isinstance(part, PackedConv)]
    assert kernels or not packs()
    assert not shared & {part.data_ptr() for part in (*twin.buffers(), *kernels)}


def test_a_child_process_has_its_own_threads(monkeypatch):
    conv, x = WinogradConv(random(4, 4, 3, 3), None), random(1, 4, 9, 9)
    torch.set_num_threads(1)  # a forked torch can do no more
    try:
        conv(x)
        child = multiprocessing.get_context("fork").Process(target=conv, args=(x,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
    finally:
        torch.set_num_threads(THREADS)


def test_no_picture_at_all_and_other_layouts():
    conv = WinogradConv(random(4, 4, 3, 3), None)
    assert conv(torch.empty(0, 4, 8, 8)).shape == (0, 4, 8, 8)
    x = random(1, 4, 8, 12)
    torch.testing.assert_close(conv(x), conv(x.contiguous(memory_format=torch.channels_last)), atol=0, rtol=0)


def test_winograd_in_blocks_and_threads(monkeypatch):
    """A scratch memory of one row of tiles, and one that others left full of NaN."""
    x, weight, bias = random(2, 20, 12, 30), random(6, 20, 3, 3), random(6)
    conv, deep = WinogradConv(weight, bias), WinogradDepthConv(random(6, 20, 3, 3, 3), bias, 2)
    wanted = conv(x), deep(x)
    monkeypatch.setattr(winograd_module, "_SCRATCH", 1)
    winograd_module._kept.memory.fill(np.nan)
    torch.testing.assert_close(conv(x), wanted[0], atol=EXACT, rtol=EXACT)
    winograd_module._kept.memory.fill(np.nan)
    torch.testing.assert_close(deep(x), wanted[1], atol=EXACT, rtol=EXACT)
    with ThreadPoolExecutor(4) as pool:  # each thread has its own scratch memory
        for seen in pool.map(conv, [x] * 8):
            torch.testing.assert_close(seen, wanted[0], atol=EXACT, rtol=EXACT)


@given(st.integers(1, 2), st.sampled_from([(4, 3), (6, 5), (16, 7), (10, 7)]), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_a_spectrum_along_depth(batch, sizes, inputs, outputs):
    depth, kernel = sizes
    x, weight, bias = (
        random(batch, inputs, depth, 5, 6),
        random(outputs, inputs, kernel, kernel, kernel),
        random(outputs),
    )
    wanted = F.conv3d(x, weight, bias, padding=kernel // 2)
    seen = DepthSpectrum(weight, bias, depth, x.dtype, WAYS["elsewhere"].plain)(volume(x))
    torch.testing.assert_close(seen, volume(wanted), atol=1e-4, rtol=1e-4)


@given(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_convolutions_on_repeated_pixels(batch, height, width):
    x = random(batch, 3, height, width)
    first = random(4, 3, 3, 3), random(4)
    twice = F.conv2d(F.interpolate(x, scale_factor=2), *first, padding=1)
    torch.testing.assert_close(WAYS["elsewhere"].repeated(*first, 2)(x), twice, atol=EXACT, rtol=EXACT)
    fourfold = F.conv2d(F.interpolate(x, scale_factor=4), *first, padding=1)
    torch.testing.assert_close(WAYS["elsewhere"].repeated(*first, 4)(x), fourfold, atol=EXACT, rtol=EXACT)


@given(st.integers(0, 2**31), st.floats(0, 3))
@settings(max_examples=20, deadline=None)
def test_sampling_a_volume(seed, size):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(2, 3, 4, 6, 5)).astype(np.float32))
    at = torch.from_numpy(rng.uniform(-size, size, (2, 4, 6, 5, 3)).astype(np.float32))
    at[0, 0, 0, 0], at[0, 0, 0, 1, 0], at[0, 0, 0, 2] = 1e30, -torch.inf, 1.0
    wanted = F.grid_sample(x, at.nan_to_num(0), padding_mode="zeros", align_corners=False)
    wanted = wanted.transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(sampled(x, at), wanted)
    seen = sampled_by_cells(x, at)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(seen, wanted, atol=1e-5, rtol=1e-5)


def test_sampling_at_no_number_reads_nothing_that_is_not_there():
    at = torch.full((1, 2, 3, 4, 3), torch.nan)
    x = torch.ones(1, 5, 2, 3, 4)
    torch.testing.assert_close(sampled_by_cells(x, at), sampled(x, at), equal_nan=True)


@given(st.integers(0, 2**31), st.floats(0, 1.5))
@settings(max_examples=20, deadline=None)
def test_a_translation_needs_no_gathering(seed, size):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(2, 3, 4, 6, 5)))
    shifts = torch.from_numpy(rng.uniform(-size, size, (2, 7, 3)))
    grid = coordinate_grid(x.shape[2:], like=shifts)
    wanted = torch.stack(
        [
            F.grid_sample(x, (grid + shifts[:, k, None, None, None]), padding_mode="zeros", align_corners=False)
            for k in range(7)
        ],
        dim=1,
    )
    torch.testing.assert_close(translated(x, shifts), wanted, atol=1e-9, rtol=1e-9)


@given(st.integers(0, 2**31), st.floats(0, 1.5), st.booleans())
@settings(max_examples=20, deadline=None)
def test_fields_in_one_pass(seed, size, half):
    rng = np.random.default_rng(seed)
    x, source, driving = (
        torch.from_numpy(rng.uniform(-size, size, shape).astype(np.float32))
        for shape in ((2, 4, 5, 6, 7), (2, 3, 3), (2, 3, 3))
    )
    dtype = torch.bfloat16 if half else torch.float32
    wanted = motion_fields(x, source, driving, torch.float32)
    seen = motion_fields_in_one_pass(x, source, driving, dtype)
    assert seen.shape == (10, 24, 6, 7) and seen.dtype == dtype
    torch.testing.assert_close(seen.float(), wanted, atol=1e-5, rtol=2**-8 if half else 1e-5)
    assert motion_fields_in_one_pass(x, source * torch.nan, driving, dtype).isnan().any()
