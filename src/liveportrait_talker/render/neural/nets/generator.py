"""G, the SPADE generator: warped features → image (docs/method/liveportrait.md, Generator)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CONDITION = 256  # channels of the condition
_SHARED = 128


class SpadeGenerator(nn.Module):
    """Features (B, 256, 64, 64) → RGB (B, 3, 512, 512) in 0…1. The features also condition each normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(_CONDITION, 512, 3, padding=1)
        self.G_middle_0 = SpadeBlock(512, 512)
        self.G_middle_1 = SpadeBlock(512, 512)
        self.G_middle_2 = SpadeBlock(512, 512)
        self.G_middle_3 = SpadeBlock(512, 512)
        self.G_middle_4 = SpadeBlock(512, 512)
        self.G_middle_5 = SpadeBlock(512, 512)
        self.up_0 = SpadeBlock(512, 256)
        self.up_1 = SpadeBlock(256, 64)
        self.conv_img = nn.Sequential(nn.Conv2d(64, 3 * 2 * 2, 3, padding=1))

    def forward(self, feature: Tensor) -> Tensor:
        """Return the image (B, 3, 512, 512)."""
        x = self.fc(feature)
        for i in range(6):
            x = getattr(self, f"G_middle_{i}")(x, feature)
        x = self.up_0(_double(x), feature)
        x = self.up_1(_double(x), feature)
        x = self.conv_img(F.leaky_relu(x, 0.2))  # (B, 12, 256, 256)
        return torch.sigmoid(F.pixel_shuffle(x, 2))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class SpadeBlock(nn.Module):
    """Residual block (B, in, H, W) → (B, out, H, W) with a condition (B, 256, h, w)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        middle = min(channels_in, channels_out)
        self.conv_0 = SpectralConv2d(channels_in, middle, 3)
        self.conv_1 = SpectralConv2d(middle, channels_out, 3)
        self.norm_0 = Spade(channels_in)
        self.norm_1 = Spade(middle)
        self.changes_width = channels_in != channels_out
        if self.changes_width:
            self.conv_s = SpectralConv2d(channels_in, channels_out, 1, bias=False)
            self.norm_s = Spade(channels_in)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return features (B, out, H, W)."""
        shortcut = self.conv_s(self.norm_s(x, condition)) if self.changes_width else x
        change = self.conv_0(F.leaky_relu(self.norm_0(x, condition), 0.2))
        change = self.conv_1(F.leaky_relu(self.norm_1(change, condition), 0.2))
        total: Tensor = shortcut + change
        return total


class Spade(nn.Module):
    """Instance normalisation of (B, C, H, W), then scale and shift computed from the condition for each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(_CONDITION, _SHARED, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(_SHARED, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(_SHARED, channels, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return features of the shape of `x`."""
        shared = self.mlp_shared(F.interpolate(condition, size=x.shape[2:], mode="nearest"))
        scaled: Tensor = F.instance_norm(x) * (1 + self.mlp_gamma(shared)) + self.mlp_beta(shared)
        return scaled


class SpectralConv2d(nn.Module):
    """A convolution divided by the spectral norm of its weight (docs/method/liveportrait.md, Weights).

    σ = u · (W v) with W as (out, in·k·k) and the stored u and v. Neither the singular value nor a further power
    iteration gives the same numbers, because training stopped at these vectors.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(channels_in, channels_out, kernel)
        self.weight_orig = nn.Parameter(plain.weight.detach())
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.register_buffer("weight_u", _unit_vector(channels_out))
        self.register_buffer("weight_v", _unit_vector(channels_in * kernel * kernel))

    @property
    def weight(self) -> Tensor:
        """The effective weight (out, in, k, k): weight_orig / σ."""
        sigma = self.weight_u.float() @ (self.weight_orig.float().flatten(1) @ self.weight_v.float())
        return self.weight_orig / sigma.to(self.weight_orig.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, out, H, W) for features (B, in, H, W)."""
        return F.conv2d(x, self.weight, self.bias, padding="same")


def _unit_vector(length: int) -> Tensor:
    # `F.normalize(torch.ones(…))` on the meta device would import torch's compiler, which takes a second.
    return torch.full((length,), length**-0.5)
