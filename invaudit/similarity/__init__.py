"""Exact nearest-image search by SSIM, LPIPS and centred cosine."""
