"""SSIM between all pairs: the convention, the fast screening in patches, and the exact value in float64."""

from functools import cache

import torch
from torch import Tensor

from invaudit.models.devices import resolve_precision
from invaudit.records.columns import Better
from invaudit.runtime.files import content_hash
from invaudit.similarity.checks import checked_images
from invaudit.similarity.protocol import MetricOptions, Screen, described, rounding

C1, C2 = 0.01**2, 0.03**2
SIGMA = 1.5
SIDE, SMALL_SIDE = 11, 5
TILE = 256, 512


class Ssim:
    """Structural similarity; in [-1, 1], negative values kept.

    A Gaussian window of 11 x 11, sigma 1.5 (5 x 5 where a side is under 11); K1 = 0.01, K2 = 0.03, data range 1;
    biased variances, those that rounding makes negative set to 0, covariances as they are; mean over the window
    positions that lie wholly inside, then over channels.

    References:
        Wang, Bovik, Sheikh, Simoncelli 2004, eqs. 13 to 17.
    """

    name = "ssim"
    better: Better = "higher"

    def __init__(self, options: MetricOptions) -> None:
        self.resize, self.device = options.resize, options.device
        window = f"window {SIDE} ({SMALL_SIDE} for sides under {SIDE})"
        if self.resize is not None:
            window = f"window {window_side(self.resize, self.resize)}"
        self.label = described(f"SSIM, {window}", self.resize)
        self.key = content_hash(self.label, self.device.type)

    def embed(self, images: Tensor) -> Tensor:
        """Return pixels and the mean and variance of each window, (N, 3, C, H, W) float64.

        The window whose first pixel is at (i, j) is at (i, j); where none begins there is 0.
        """
        pixels = checked_images(images, smallest=SMALL_SIDE, resize=self.resize, device=self.device).double()
        means, variances = _moments(pixels)
        inside = (..., slice(means.shape[-2]), slice(means.shape[-1]))
        embedded = pixels.new_zeros(len(pixels), 3, *pixels.shape[1:])
        embedded[:, 0] = pixels
        embedded[:, 1][inside], embedded[:, 2][inside] = means, variances
        return embedded

    def screen(self, queries: Tensor) -> Screen:
        """Compare in patches, see ``_Patches``."""
        prepared = _Patches(queries)
        return lambda gallery: prepared.against(_Patches(gallery))

    def exact(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return the SSIM of each pair, from sums over windows."""
        x, y = _parts(queries), _parts(gallery)
        return _mean_ssim(x[1:], y[1:], _windowed(x[0] * y[0]))


def paired_ssim(x: Tensor, y: Tensor, side: int) -> Tensor:
    """Return the SSIM (N,) float64 of x[i] and y[i] with a window of another side, as some papers use.

    Args:
        x: (N, C, H, W) in [0, 1].
        y: As many images of the same shape.
        side: Odd side of the Gaussian window, sigma 1.5, at most that of the images; only windows that lie wholly
            inside count.
    """
    x, y = x.double(), y.double()
    return _mean_ssim(_moments(x, side), _moments(y, side), _windowed(x * y, side))


def _moments(pixels: Tensor, side: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of every window inside; rounding could make a variance negative."""
    means = _windowed(pixels, side)
    return means, (_windowed(pixels * pixels, side) - means * means).clamp_min(0)


def _mean_ssim(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor], product: Tensor) -> Tensor:
    """Return the mean over windows and channels, from means and variances of both and the mean of their product."""
    (mean_x, variance_x), (mean_y, variance_y) = x, y
    both = mean_x * mean_y
    luminance = (2 * both + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    structure = (2 * (product - both) + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).flatten(2).mean(2).mean(1)


def window_side(height: int, width: int) -> int:
    """Return the side of the window for images of this size."""
    return SIDE if min(height, width) >= SIDE else SMALL_SIDE


@cache
def _window(side: int, device: torch.device) -> Tensor:
    offsets = torch.arange(side, dtype=torch.float64, device=device) - side // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def _windowed(maps: Tensor, side: int | None = None) -> Tensor:
    """Return weighted means (..., H - side + 1, W - side + 1) float64 of maps (..., H, W) over every window inside."""
    window = _window(side or window_side(*maps.shape[-2:]), maps.device)
    return _weighted_sums(_weighted_sums(maps, window, -2), window, -1)


def _weighted_sums(maps: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Return the weighted sum of as many neighbours along a dimension as there are weights, at every place inside.

    One product and one sum at a time: a matrix product rounds a map by its place in the batch.
    """
    places = maps.shape[dim] - len(weights) + 1
    total = maps.narrow(dim, 0, places) * weights[0]
    for offset, weight in enumerate(weights[1:], start=1):
        total += maps.narrow(dim, offset, places) * weight
    return total


def _parts(embedded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return pixels (N, C, H, W), means and variances (N, C, H - side + 1, W - side + 1)."""
    pixels, means, variances = embedded.unbind(1)
    height, width = pixels.shape[-2:]
    side = window_side(height, width)
    inside = (..., slice(height - side + 1), slice(width - side + 1))
    return pixels, means[inside], variances[inside]


class _Patches:
    """Images as the screening takes them: for each window position a column of centred pixels for each image.

    The covariance of a pair at a position is then one entry of a matrix product, with nothing left to cancel: rounding
    puts it off by a small share of s_x s_y, hence SSIM by at most the same share, whatever the images. These products
    run in bfloat16 where the device is fast at it.
    """

    def __init__(self, embedded: Tensor) -> None:
        self.window = _window(window_side(*embedded.shape[-2:]), embedded.device)
        self.dtype = resolve_precision("auto", embedded.device)
        # The images last: what is multiplied is contiguous along them.
        pixels, means, variances = _parts(embedded)
        self.pixels, self.means, self.variances = _images_last(pixels), _images_last(means), _images_last(variances)

    def columns(self, channel: int, row: int, weights: Tensor | None, constants: Tensor) -> Tensor:
        """Return centred pixels times weights, over two rows of constants, for a row of positions: (P, K, N)."""
        side = len(self.window)
        means = self.means[channel, row]
        centred_patches = means.new_empty(len(means), side * side + 2, means.shape[1], dtype=self.dtype)
        centred_patches[:, -2:] = constants
        strip = self.pixels[channel, row : row + side]
        for position, mean in enumerate(means):
            centred = (strip[:, position : position + side] - mean).flatten(0, 1)
            centred_patches[position, :-2] = centred if weights is None else centred.mul_(weights)
        return centred_patches

    def against(self, other: "_Patches") -> tuple[Tensor, Tensor]:
        """Return rough SSIM of all pairs, (Q, B) float32, and how far they may be off, (Q, 1).

        SSIM is the mean of (4 mu_x mu_y + 2 C1) (s_xy + C2/2) / ((mu_x^2 + mu_y^2 + C1) (s_x^2 + s_y^2 + C2)): at each
        position three matrix products, of 2, K = side^2 + 2 and 4 numbers.
        """
        weights = torch.outer(self.window, self.window).float().view(-1, 1)
        # C2/2 as a sum of two numbers, since one bfloat16 would be off by up to 2^-9 of it.
        high = weights.new_tensor(C2 / 2).to(self.dtype).float()
        constants = torch.stack([high, C2 / 2 - high]).view(2, 1)
        channels, rows, positions = self.means.shape[:3]
        total = self.pixels.new_zeros(self.pixels.shape[-1], other.pixels.shape[-1])
        for channel in range(channels):
            for row in range(rows):
                x = self.columns(channel, row, weights, constants).mT.contiguous()
                y = other.columns(channel, row, None, torch.ones_like(constants))
                _accumulate(total, (x, y), *_factors(self, other, channel, row))
        n = channels * rows * positions
        share = 2 * torch.finfo(self.dtype).eps + rounding(len(weights) + n + 20)
        return total.div_(n), total.new_full((len(total), 1), share)


def _images_last(maps: Tensor) -> Tensor:
    """Return maps (N, C, H, W) as (C, H, W, N) float32."""
    return maps.permute(1, 2, 3, 0).float().contiguous()


def _factors(x: _Patches, y: _Patches, channel: int, row: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the factors of 4 mu_x mu_y + 2 C1 and of the denominator: (P, Q, n) and (P, n, B) each."""
    mean_x, mean_y = x.means[channel, row], y.means[channel, row]
    variance_x, variance_y = x.variances[channel, row] + C2, y.variances[channel, row]
    light_x, light_y = mean_x.square() + C1, mean_y.square()
    one_x, one_y = torch.ones_like(mean_x), torch.ones_like(mean_y)
    upper = torch.stack([4 * mean_x, 2 * C1 * one_x], 2), torch.stack([mean_y, one_y], 1)
    lower = (
        torch.stack([light_x * variance_x, light_x, variance_x, one_x], 2),
        torch.stack([one_y, variance_y, light_y, light_y * variance_y], 1),
    )
    return upper, lower


def _accumulate(total: Tensor, *factors: tuple[Tensor, Tensor]) -> None:
    """Add covariance times luminance over denominator to the total, position by position, in tiles that fit a cache."""
    height, width = TILE if total.device.type == "cpu" else total.shape
    for q in range(0, total.shape[0], height):
        for g in range(0, total.shape[1], width):
            tile = total[q : q + height, g : g + width]
            parts = [(x[:, q : q + height], y[:, :, g : g + width]) for x, y in factors]
            # One set of results for all positions: fresh ones would drive each other out of the cache.
            results = [x.new_empty(tile.shape) for x, _ in parts]
            covariance, upper, lower = results
            for position in range(len(parts[0][0])):
                for (x, y), result in zip(parts, results, strict=True):
                    torch.mm(x[position], y[position], out=result)
                tile.addcdiv_(upper.mul_(covariance.float()), lower)
