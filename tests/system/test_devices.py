"""What the CPU is used for, with a limit on oneDNN's instructions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.system.devices import has_amx, has_bf16, torch_dtype  # noqa: E402


@pytest.mark.parametrize(
    ("limit", "bf16", "amx"),
    [("", True, True), ("AVX512_CORE_AMX", True, True), ("avx512_core_bf16", True, False), ("AVX2", False, False)],
)
def test_a_limit_on_onednn_is_obeyed(monkeypatch, limit, bf16, amx):
    """So that one machine can measure what another draws."""
    for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, check, lambda: True, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert (has_bf16(), has_amx()) == (bf16, amx)
    assert torch_dtype("auto", torch.device("cpu")) == (torch.bfloat16 if bf16 else torch.float32)
