"""The fast versions of W and G against their definitions, and their parts against torch."""

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
from liveportrait_talker.render.neural.fast import ConvFactory, FastGenerator, FastWarping, factory  # noqa: E402
from liveportrait_talker.render.neural.fast import winograd as winograd_module  # noqa: E402
from liveportrait_talker.render.neural.fast.convolution import DepthFourierConv  # noqa: E402
from liveportrait_talker.render.neural.fast.fields import (  # noqa: E402
    motion_fields,
    motion_fields_numba,
    translate_volume,
)
from liveportrait_talker.render.neural.fast.modulation import FusedSpadeModulation, SpadeModulation  # noqa: E402
from liveportrait_talker.render.neural.fast.packed import PackedConv, packing_available  # noqa: E402
from liveportrait_talker.render.neural.fast.sampling import sample_volume, sample_volume_numba  # noqa: E402
from liveportrait_talker.render.neural.fast.winograd import WinogradConv, WinogradDepthConv, winograd_pays  # noqa: E402
from liveportrait_talker.render.neural.fast.winograd_spade import WinogradSpade  # noqa: E402
from liveportrait_talker.render.neural.nets.warping import coordinate_grid  # noqa: E402
from liveportrait_talker.system.devices import has_bf16  # noqa: E402

THREADS = torch.get_num_threads()
WINOGRADS = 31  # convolutions of G that have enough channels, without those for γ and β
WINOGRAD_SPADES = 16
EXACT = 2e-5  # rounding of float32, for sums of numbers near 1


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def volume(x: torch.Tensor) -> torch.Tensor:
    """(B, C, D, H, W) → (B·D, C, H, W), channels last."""
    return x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def case(network):
    """Two sources, whose volumes have a quarter of the renderer's pixels, and the outputs of the definitions."""
    torch.manual_seed(0)
    feature, source = torch.randn(2, 32, 16, 32, 32), 0.4 * torch.rand(2, 21, 3) - 0.2
    driving = source + 0.05 * torch.randn(2, 21, 3)
    with torch.inference_mode():
        warped = network("warping_module", "")(feature, kp_source=source, kp_driving=driving)
        return (feature, source, driving), warped, network("spade_generator", "")(warped["out"][:1])


def psnr(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float(-10 * torch.log10((actual.float() - expected).square().mean()))


VARIANTS = {
    "GPU": ConvFactory(torch.float32, native_3d=True),
    "other": ConvFactory(torch.float32),
    "CPU": ConvFactory(torch.float32, winograd=True, packed=packing_available(), cpu=True),
    "CPU with bf16": ConvFactory(torch.float32, packed=packing_available(), cpu=True),
    "CPU with AMX": ConvFactory(torch.float32, native_3d=True, packed=packing_available(), cpu=True),
}


@pytest.fixture(scope="module")
def warping_on_cpu(network):
    return FastWarping(network("warping_module", ""), VARIANTS["CPU"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_warping_equals_the_definition(network, case, warping_on_cpu, variant):
    (feature, source, driving), expected, _ = case
    count = 2 if variant == "CPU" else 1  # sources; each takes seconds
    with torch.inference_mode():
        fast = warping_on_cpu if variant == "CPU" else FastWarping(network("warping_module", ""), VARIANTS[variant])
        actual = fast(feature[:count], kp_source=source[:count], kp_driving=driving[:count])
    kinds = [type(part) for part in fast.modules()]
    assert kinds.count(WinogradDepthConv) == (6 if variant == "CPU" else 0)
    assert kinds.count(PackedConv) == (
        0 if not packing_available() or not VARIANTS[variant].cpu else 19 if variant == "CPU" else 25
    )
    for name, allowed in (("out", 2e-4), ("occlusion_map", 2e-5), ("deformation", 5e-6)):  # the goldens' tolerances
        assert (actual[name] - expected[name][:count]).abs().max() <= allowed, name


def test_batch_of_one_source_equals_single_frames(case, warping_on_cpu):
    """As the renderer calls it: volume and keypoints are expanded without memory."""
    (feature, source, driving), _, _ = case
    with torch.inference_mode():
        fast = warping_on_cpu
        both = fast(feature[:1].expand(2, -1, -1, -1, -1), kp_source=source[:1].expand(2, -1, -1), kp_driving=driving)
        one = fast(feature[:1], kp_source=source[:1], kp_driving=driving[1:])
        torch.testing.assert_close(both["out"][1:], one["out"], atol=EXACT, rtol=EXACT)


@pytest.mark.parametrize("variant", VARIANTS)
def test_generator_equals_the_definition(network, case, variant):
    _, warped, expected = case
    with torch.inference_mode():
        fast = FastGenerator(network("spade_generator", ""), VARIANTS[variant])
        actual = fast(warped["out"][:1])
    kinds = [type(part) for part in fast.modules()]
    assert kinds.count(WinogradConv) == (WINOGRADS if variant == "CPU" else 0)
    assert kinds.count(WinogradSpade) == (WINOGRAD_SPADES if variant == "CPU" else 0)
    assert (actual - expected).abs().max() <= 2e-5


@pytest.mark.slow
def test_the_renderers_size(network, warping_on_cpu):
    torch.manual_seed(1)
    feature, source = torch.randn(1, 32, 16, 64, 64), 0.4 * torch.rand(1, 21, 3) - 0.2
    driving = {"kp_source": source, "kp_driving": source + 0.05 * torch.randn(1, 21, 3)}
    with torch.inference_mode():
        warped = network("warping_module", "")(feature, **driving)["out"]
        assert (warping_on_cpu(feature, **driving)["out"] - warped).abs().max() <= 2e-4
        fast = FastGenerator(network("spade_generator", ""), VARIANTS["CPU"])
        assert (fast(warped) - network("spade_generator", "")(warped)).abs().max() <= 2e-5


@pytest.mark.skipif(not has_bf16(), reason="this CPU has no bf16, and emulating it takes a minute")
@pytest.mark.parametrize("winograd", [False, True])  # with AMX and without
def test_half_precision_is_close_to_float32(network, case, winograd):
    (feature, source, driving), _, expected = case
    with torch.inference_mode():
        conv = ConvFactory(torch.bfloat16, winograd=winograd, native_3d=True, packed=packing_available(), cpu=True)
        warped = FastWarping(network("warping_module", ""), conv)(
            feature[:1], kp_source=source[:1], kp_driving=driving[:1]
        )
        actual = FastGenerator(network("spade_generator", ""), conv)(warped["out"])
    assert psnr(actual, expected) >= 43


@given(
    st.sampled_from([variant for variant in VARIANTS if not VARIANTS[variant].winograd]),
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(2, 6),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_volume_convolutions(variant, batch, depth, height, inputs, outputs):
    x, weight, bias = (
        random(batch, inputs, depth, height, height + 1),
        random(outputs, inputs, 3, 3, 3),
        random(outputs),
    )
    expected = F.relu(F.conv3d(x, weight, bias, padding=1))
    actual = VARIANTS[variant].volume(weight, bias, depth)(volume(x))
    torch.testing.assert_close(actual, volume(expected), atol=EXACT, rtol=EXACT)
    expected = F.relu(F.conv3d(F.interpolate(x, scale_factor=(1, 2, 2)), weight, bias, padding=1))
    actual = VARIANTS[variant].volume(weight, bias, depth, upsample=True)(volume(x))
    torch.testing.assert_close(actual, volume(expected), atol=EXACT, rtol=EXACT)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_addend_and_relu(variant, relu):
    """Also for another size than the first, for which weights are packed."""
    weight, bias = random(64, 64, 3, 3), random(64)
    conv = VARIANTS[variant](weight, bias, relu=relu)
    for height in (6, 9):
        x, plus = (random(1, 64, height, width).contiguous(memory_format=torch.channels_last) for width in (8, 8))
        sums = F.conv2d(x, weight, bias, padding=1)
        for actual, expected in ((conv(x), sums), (conv(x, plus.clone()), sums + plus)):
            torch.testing.assert_close(actual, expected.relu() if relu else expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_that_are_not_finite_are_an_error(variant):
    """oneDNN's ReLU turns NaN into 0, which the image would not show."""
    weight, bias = random(64, 64, 3, 3, 3), random(64)
    weight[3, 2, 1, 0, 0] = torch.nan
    for make in (
        lambda: VARIANTS[variant](weight[:, :, 1], bias),
        lambda: VARIANTS[variant].volume(weight, bias, 2),
        lambda: VARIANTS[variant].volume(weight, bias, 2, upsample=True),
        lambda: VARIANTS[variant].upsampled(weight[:, :, 1], bias, 4),
    ):
        with pytest.raises(WeightsError, match="not finite"):
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
def test_fused_spade_equals_the_definition(batch, height, width, channels, upsample, has_shortcut, half):
    dtype, times = torch.bfloat16 if half else torch.float32, 2 if upsample else 1
    x = last(10 + 3 * random(batch, channels, height, width)).to(dtype)
    gamma, beta, shortcut = (
        last(random(batch, channels, times * height, times * width).to(dtype)) + k for k in range(3)
    )
    given = (gamma, beta, shortcut if has_shortcut else None)
    expected = SpadeModulation(upsample=upsample)(
        x.float(), *(None if part is None else part.float() for part in given)
    )
    plain = F.instance_norm(x.float())
    plain = F.interpolate(plain, scale_factor=2) if upsample else plain
    torch.testing.assert_close(
        expected[0], F.leaky_relu(plain * gamma.float() + beta.float(), 0.2), atol=1e-4, rtol=1e-4
    )
    actual = FusedSpadeModulation(upsample=upsample)(x, *given)
    assert (actual[1] is None) == (not has_shortcut)
    for a, b in zip(actual, expected, strict=True):
        if a is not None:
            assert a.dtype == dtype and a.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(a.float(), b, atol=1e-4, rtol=2**-8 if half else 1e-4)


@pytest.mark.parametrize("odd", [1.0, 1e2, 1e4])
def test_fused_spade_is_precise_with_an_outlier_or_a_large_mean(odd):
    x = last(random(1, 3, 256, 256) + 5 * odd)
    x[0, :, 0, 0] += odd
    one, none = torch.ones_like(x), torch.zeros_like(x)
    expected = F.leaky_relu(F.instance_norm(x.double()), 0.2)
    rounding = 1e-6 * max(1, 5 * odd)  # of what x itself holds
    assert (FusedSpadeModulation()(x, one, none)[0] - expected).abs().max() < rounding + 1e-6 * odd


def test_fused_spade_rounds_to_even_and_keeps_nan():
    """bfloat16 as torch rounds it; NaN must reach the image, which is then drawn again."""
    x = torch.zeros(1, 4, 1, 2, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    beta = torch.randn(1, 4, 1, 2).abs().to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    beta[0, 0, 0, 0], beta[0, 1, 0, 0] = torch.inf, torch.nan
    actual, _ = FusedSpadeModulation()(x, torch.ones_like(beta), beta)
    torch.testing.assert_close(actual, beta, equal_nan=True, atol=0, rtol=0)


@given(
    st.integers(1, 2),
    st.integers(1, 17),
    st.integers(1, 17),
    st.sampled_from([1, 7, 64, 70]),
    st.sampled_from([1, 5, 64, 142]),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_winograd_equals_the_direct_sum(count, height, width, inputs, outputs, has_bias):
    x = random(count, inputs, height, width).contiguous(memory_format=torch.channels_last)
    weight, bias = random(outputs, inputs, 3, 3), random(outputs) if has_bias else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1).float()
    actual = WinogradConv(weight, bias)(x)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(actual, expected, atol=5e-5 * inputs**0.5, rtol=0)


def test_winograd_in_bfloat16_rounds_only_input_and_output():
    x, weight, bias, plus = random(1, 70, 9, 6), random(70, 70, 3, 3), random(70), random(1, 70, 9, 6)
    x, plus = (last(part.to(torch.bfloat16)) for part in (x, plus))
    expected = F.relu(F.conv2d(x.float(), weight, bias, padding=1) + plus.float())
    actual = WinogradConv(weight, bias, relu=True)(x, plus)
    assert actual.dtype == torch.bfloat16 and actual.data_ptr() == plus.data_ptr()
    torch.testing.assert_close(actual.float(), expected, atol=1e-3, rtol=2**-8)


@given(
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(2, 5),
    st.sampled_from([1, 33, 64, 70, 142]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_winograd_spade_equals_the_definition(batch, height, width, channels, upsample, has_shortcut, half):
    dtype, times = torch.bfloat16 if half else torch.float32, 2 if upsample else 1
    x = last(5 + 3 * random(batch, channels, height, width)).to(dtype)
    shared, of_shortcut = (last(random(batch, 20, times * height, times * width).to(dtype)) for _ in range(2))
    layers = [(random(channels, 20 + k, 3, 3)[:, :20] / 10, random(channels + k)[:channels]) for k in range(3)]
    layers[2:] = layers[2:] if has_shortcut else [None]
    given = (x.float(), shared.float(), of_shortcut.float() if has_shortcut else None)
    expected = ConvFactory(torch.float32).spade(*layers, upsample=upsample)(*given)
    spade = WinogradSpade(*layers, upsample=upsample, products=dtype)
    actual = spade(x, shared, of_shortcut if has_shortcut else None)
    assert (actual[1] is None) == (not has_shortcut)
    for a, b in zip(actual, expected, strict=True):
        if a is not None:
            assert a.dtype == dtype and a.is_contiguous(memory_format=torch.channels_last)
            if half:
                assert (a.float() - b).square().mean() <= 0.04**2 * b.square().mean()
            else:
                torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-4)


def test_winograd_spade_keeps_nan():
    """NaN must reach the image, which is then drawn again."""
    x, shared = last(random(1, 64, 4, 4)), last(random(1, 64, 4, 4))
    x[0, 5, 2, 2] = torch.nan
    layer = random(64, 64, 3, 3), random(64)
    assert WinogradSpade(layer, layer, None, upsample=False, products=x.dtype)(x, shared)[0][0, 5].isnan().any()


@given(st.integers(1, 2), st.integers(1, 4), st.integers(1, 9), st.sampled_from([3, 64, 70]), st.sampled_from([2, 64]))
@settings(max_examples=20, deadline=None)
def test_winograd_3d_equals_the_direct_sum(batch, depth, height, inputs, outputs):
    x, weight = random(batch, inputs, depth, height, height + 1), random(outputs, inputs, 3, 3, 3)
    bias = random(outputs)
    expected = F.conv3d(x.double(), weight.double(), bias.double(), padding=1).float()
    actual = WinogradDepthConv(weight, bias, depth)(volume(x))
    torch.testing.assert_close(actual, volume(expected), atol=1e-4 * inputs**0.5, rtol=0)


@pytest.mark.parametrize("amx", [True, False])
def test_winograd_is_used_where_it_is_faster(amx, monkeypatch):
    monkeypatch.setattr(factory, "has_amx", lambda: amx)
    cpu, bf16 = torch.device("cpu"), torch.bfloat16
    assert ConvFactory.for_device(cpu, torch.float32).winograd
    assert ConvFactory.for_device(cpu, bf16).winograd is not amx
    assert not ConvFactory.for_device(torch.device("cuda"), torch.float32).winograd
    assert winograd_pays(512, 512) and winograd_pays(110, 64) and not winograd_pays(64, 12)


def test_the_renderer_uses_winograd_on_cpus(network, monkeypatch):
    monkeypatch.setattr(liveportrait, "load_network", lambda name, build, file=None: network(name, ""))
    networks = liveportrait.LivePortrait(device="cpu", precision="fp32")
    assert any(isinstance(part, WinogradConv) for part in networks.network("spade_generator").modules())
    assert any(isinstance(part, WinogradDepthConv) for part in networks.network("warping_module").modules())


def test_fast_networks_share_no_memory_with_the_reference(network, monkeypatch):
    reference = network("spade_generator", "")
    monkeypatch.setattr(liveportrait, "load_network", lambda name, build, file=None: reference)
    fast = liveportrait.LivePortrait(device="cpu", precision="fp32").network("spade_generator")
    shared = {tensor.data_ptr() for tensor in reference.state_dict().values()}
    kernels = [part.kernel for part in fast.modules() if isinstance(part, PackedConv)]
    assert kernels or not packing_available()
    assert not shared & {part.data_ptr() for part in (*fast.buffers(), *kernels)}


def test_a_forked_process_has_its_own_threads(monkeypatch):
    conv, x = WinogradConv(random(4, 4, 3, 3), None), random(1, 4, 9, 9)
    torch.set_num_threads(1)  # torch supports no more after a fork
    try:
        conv(x)
        child = multiprocessing.get_context("fork").Process(target=conv, args=(x,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
    finally:
        torch.set_num_threads(THREADS)


def test_winograd_with_empty_batches_and_other_layouts():
    conv = WinogradConv(random(4, 4, 3, 3), None)
    assert conv(torch.empty(0, 4, 8, 8)).shape == (0, 4, 8, 8)
    x = random(1, 4, 8, 12)
    torch.testing.assert_close(conv(x), conv(x.contiguous(memory_format=torch.channels_last)), atol=0, rtol=0)


def test_winograd_in_blocks_and_threads(monkeypatch):
    """With scratch memory for one row of tiles, and with scratch memory full of NaN."""
    x, weight, bias = random(2, 20, 12, 30), random(6, 20, 3, 3), random(6)
    conv, deep = WinogradConv(weight, bias), WinogradDepthConv(random(6, 20, 3, 3, 3), bias, 2)
    expected = conv(x), deep(x)
    monkeypatch.setattr(winograd_module, "_SCRATCH_BYTES", 1)
    winograd_module._local.memory.fill(np.nan)
    torch.testing.assert_close(conv(x), expected[0], atol=EXACT, rtol=EXACT)
    winograd_module._local.memory.fill(np.nan)
    torch.testing.assert_close(deep(x), expected[1], atol=EXACT, rtol=EXACT)
    with ThreadPoolExecutor(4) as pool:  # each thread has its own scratch memory
        for actual in pool.map(conv, [x] * 8):
            torch.testing.assert_close(actual, expected[0], atol=EXACT, rtol=EXACT)


@given(st.integers(1, 2), st.sampled_from([(4, 3), (6, 5), (16, 7), (10, 7)]), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_depth_fourier_convolution(batch, sizes, inputs, outputs):
    depth, kernel = sizes
    x, weight, bias = (
        random(batch, inputs, depth, 5, 6),
        random(outputs, inputs, kernel, kernel, kernel),
        random(outputs),
    )
    expected = F.conv3d(x, weight, bias, padding=kernel // 2)
    actual = DepthFourierConv(weight, bias, depth, x.dtype, VARIANTS["other"].direct)(volume(x))
    torch.testing.assert_close(actual, volume(expected), atol=1e-4, rtol=1e-4)


@given(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_upsampled_convolutions(batch, height, width):
    x = random(batch, 3, height, width)
    first = random(4, 3, 3, 3), random(4)
    twice = F.conv2d(F.interpolate(x, scale_factor=2), *first, padding=1)
    torch.testing.assert_close(VARIANTS["other"].upsampled(*first, 2)(x), twice, atol=EXACT, rtol=EXACT)
    fourfold = F.conv2d(F.interpolate(x, scale_factor=4), *first, padding=1)
    torch.testing.assert_close(VARIANTS["other"].upsampled(*first, 4)(x), fourfold, atol=EXACT, rtol=EXACT)


@given(st.integers(0, 2**31), st.floats(0, 3))
@settings(max_examples=20, deadline=None)
def test_sampling_a_volume(seed, size):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(2, 3, 4, 6, 5)).astype(np.float32))
    at = torch.from_numpy(rng.uniform(-size, size, (2, 4, 6, 5, 3)).astype(np.float32))
    at[0, 0, 0, 0], at[0, 0, 0, 1, 0], at[0, 0, 0, 2] = 1e30, -torch.inf, 1.0
    expected = F.grid_sample(x, at.nan_to_num(0), padding_mode="zeros", align_corners=False)
    expected = expected.transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(sample_volume(x, at), expected)
    actual = sample_volume_numba(x, at)
    assert actual.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_sampling_at_nan_gives_nan():
    at = torch.full((1, 2, 3, 4, 3), torch.nan)
    x = torch.ones(1, 5, 2, 3, 4)
    torch.testing.assert_close(sample_volume_numba(x, at), sample_volume(x, at), equal_nan=True)


@given(st.integers(0, 2**31), st.floats(0, 1.5))
@settings(max_examples=20, deadline=None)
def test_translating_a_volume_equals_sampling_it(seed, size):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(2, 3, 4, 6, 5)))
    shifts = torch.from_numpy(rng.uniform(-size, size, (2, 7, 3)))
    grid = coordinate_grid(x.shape[2:], like=shifts)
    expected = torch.stack(
        [
            F.grid_sample(x, (grid + shifts[:, k, None, None, None]), padding_mode="zeros", align_corners=False)
            for k in range(7)
        ],
        dim=1,
    )
    torch.testing.assert_close(translate_volume(x, shifts), expected, atol=1e-9, rtol=1e-9)


@given(st.integers(0, 2**31), st.floats(0, 1.5), st.booleans())
@settings(max_examples=20, deadline=None)
def test_motion_fields_numba_equals_the_definition(seed, size, half):
    rng = np.random.default_rng(seed)
    x, source, driving = (
        torch.from_numpy(rng.uniform(-size, size, shape).astype(np.float32))
        for shape in ((2, 4, 5, 6, 7), (2, 3, 3), (2, 3, 3))
    )
    dtype = torch.bfloat16 if half else torch.float32
    expected = motion_fields(x, source, driving, torch.float32)
    actual = motion_fields_numba(x, source, driving, dtype)
    assert actual.shape == (10, 24, 6, 7) and actual.dtype == dtype
    torch.testing.assert_close(actual.float(), expected, atol=1e-5, rtol=2**-8 if half else 1e-5)
    assert motion_fields_numba(x, source * torch.nan, driving, dtype).isnan().any()
