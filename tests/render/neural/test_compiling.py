"""The choice of compiling, and the fallback where compiling fails."""

from __future__ import annotations

import importlib.util
import logging
import threading

import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.errors import OptionError  # noqa: E402
from liveportrait_talker.render.neural import compiling, renderer  # noqa: E402
from liveportrait_talker.render.neural.fast import ConvFactory, FastGenerator, FastWarping  # noqa: E402
from liveportrait_talker.render.neural.liveportrait import _repeat_rows  # noqa: E402

CPU = torch.device("cpu")


def test_gpus_need_triton_for_compiling(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert compiling.decide_compilation("auto", cuda)[0] and compiling.decide_compilation("on", cuda)[0]
    assert compiling.decide_compilation("off", cuda) == (False, "--compile off")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compiling.decide_compilation("auto", cuda) == (False, "Triton is not installed")
    with pytest.raises(OptionError, match="Triton is not installed"):
        compiling.decide_compilation("on", cuda)


def test_nothing_is_compiled_on_cpus():
    chosen, why = compiling.decide_compilation("auto", CPU)
    assert not chosen and "Numba kernels" in why
    with pytest.raises(OptionError, match="Numba kernels"):
        compiling.decide_compilation("on", CPU)


def test_nothing_is_compiled_on_mps():
    assert not compiling.decide_compilation("auto", torch.device("mps"))[0]


class Doubling(torch.nn.Module):
    def forward(self, x: torch.Tensor, plus: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        return torch.relu(2 * x), None if plus is None else plus + 1


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Doubling(), Doubling()

    def regions(self) -> list[torch.nn.Module]:
        return [self.first, self.second]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, more = self.first(x, x)
        return self.second(y + more)[0]


@pytest.mark.slow
def test_compiled_regions_give_the_same_result(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "_failed", threading.Event())
    x, net = torch.randn(3, 5), Network()
    wanted = net(x)
    compiling.compile_regions(net)
    with torch.inference_mode():
        torch.testing.assert_close(net(x), wanted)
    assert not compiling._failed.is_set()
    assert any(tmp_path.iterdir()), "nothing is cached for the next run"


def test_regions_of_the_fast_networks(network):
    warping, generator = network("warping_module", ""), network("spade_generator", "")
    conv = ConvFactory.for_device(torch.device("cuda"), torch.float16)
    assert len(FastWarping(warping, conv).regions()) == 1
    assert len(FastGenerator(generator, conv).regions()) == 8


def test_every_batch_size_is_compiled(monkeypatch):
    """Regions of one class share torch's limit of graphs, which is 8 by default."""
    monkeypatch.setattr(compiling, "_failed", threading.Event())
    graphs, net = [], Network()
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: compile(f, backend=backend, **how))

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiling.compile_regions(net)
    for count in range(2, 14):
        net(torch.ones(count, 3))
    assert len(graphs) == 24


def test_a_failing_compiler_is_logged_once_and_networks_run_uncompiled(monkeypatch, caplog):
    def compile(forward, **_):
        def fail(*args, **kwargs):
            raise RuntimeError("ld: cannot find -lsomething\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(compiling, "_failed", threading.Event())
    net = Network()
    compiling.compile_regions(net)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (net(torch.ones(2)) == 8).all()
    assert [r.message for r in caplog.records] == [
        "torch.compile failed (ld: cannot find -lsomething): the networks run uncompiled."
    ]


def test_repeat_rows():
    rows = torch.arange(6.0).view(3, 2)
    assert _repeat_rows(rows[:1], 4).shape == (4, 2)
    assert (_repeat_rows(rows, 5)[3:] == rows[2]).all()
    assert _repeat_rows(rows, 3) is rows


@pytest.mark.parametrize("count", [0, 1, 3])
def test_drawing_ahead_keeps_order_and_limit(count):
    started = []

    def step(k):
        started.append(k)
        return k

    results = renderer._ahead(((lambda k=k: step(k)) for k in range(8)), count)
    assert next(results) == 0
    assert max(started) <= count
    assert list(results) == list(range(1, 8))


def test_an_error_ahead_is_raised_in_order():
    def work():
        yield lambda: 1
        yield lambda: 1 / 0

    results = renderer._ahead(work(), 1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
