"""Versions of the tools that stages use."""

from __future__ import annotations

from contextlib import suppress


def version_of(distribution: str) -> str:
    """Return the installed version of a distribution, or "none" without it.

    NVIDIA's wheels also exist under names with CUDA's version, which can be installed without the
    wheel of the plain name.
    """
    from importlib.metadata import PackageNotFoundError, version

    for suffix in ("", "-cu13", "-cu12", "-cu11"):
        with suppress(PackageNotFoundError):
            return version(distribution + suffix)
    return "none"
