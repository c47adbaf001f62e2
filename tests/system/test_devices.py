"""What the CPU is used for, with a limit on oneDNN's instructions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.system.devices import has_amx, has_bf16, prefers_bf16, torch_dtype  # noqa: E402


@pytest.mark.parametrize(
    ("limit", "bf16", "amx"),
    [("", True, True), ("AVX512_CORE_AMX", True, True), ("avx512_core_bf16", True, False), ("AVX2", False, False)],
)
def test_a_limit_on_onednn_is_obeyed(monkeypatch, limit, bf16, amx):
    """So that one machine can measure what another draws."""
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, check, lambda: True, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    prefers_bf16.cache_clear()
    assert (has_bf16(), has_amx()) == (bf16, amx)
    chosen = torch_dtype("auto", torch.device("cpu"))
    if amx or not bf16:
        assert chosen == (torch.bfloat16 if bf16 else torch.float32)
    prefers_bf16.cache_clear()


@pytest.mark.parametrize("faster", [torch.bfloat16, torch.float32])
def test_without_amx_the_format_whose_products_take_less_time_is_chosen(monkeypatch, faster):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    clock = [0.0]

    def multiply(a, b):
        clock[0] += 1.0 if a.dtype == faster else 2.0

    monkeypatch.setattr(torch, "mm", multiply)
    monkeypatch.setattr("time.process_time", lambda: clock[0])
    prefers_bf16.cache_clear()
    assert torch_dtype("auto", torch.device("cpu")) == faster
    assert torch_dtype("bf16", torch.device("cpu")) == torch.bfloat16
    prefers_bf16.cache_clear()
