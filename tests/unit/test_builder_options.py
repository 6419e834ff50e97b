"""Options of the builder, and what contradicts what."""

from __future__ import annotations

import pytest

from trtforge import builder_options as options
from trtforge.bundle.prepared import Target
from trtforge.devices import device
from trtforge.errors import ForgeError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "images=1x3x64x64:4x3x64x64:8x3x64x64",
            {"images": ((1, 3, 64, 64), (4, 3, 64, 64), (8, 3, 64, 64))},
        ),
        (
            "in:0=1x2:1x2:1x2,a=b=1:2:3",
            {"in:0": ((1, 2), (1, 2), (1, 2)), "a=b": ((1,), (2,), (3,))},
        ),
    ],
)
def test_profile(text, found):
    assert options.parse_profile(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("images", "not NAME=MIN:OPT:MAX"),
        ("images=1x3", "not NAME=MIN:OPT:MAX"),
        ("=1:2:3", "not NAME=MIN:OPT:MAX"),
        ("a=1x3:2x3:3", "not in order"),
        ("a=4:2:8", "not in order"),
        ("a=0:1:2", "not in order"),
        ("a=1:2:x", "not NAME=MIN:OPT:MAX"),
    ],
)
def test_profile_that_is_none(text, why):
    with pytest.raises(ForgeError, match=why):
        options.parse_profile(text)


def test_builder_options_travel_as_one_value():
    made = options.builder(
        "1GiB", ["tactic-dram=2GiB"], [], "jit-convolutions,cudnn", None, opt_level=4, dla_core=1
    )
    assert (made.workspace, made.pools, made.opt_level) == (2**30, (("tactic-dram", 2**31),), 4)
    assert (made.tactic_sources, made.dla_core, made.timing_cache) == (
        ("jit-convolutions", "cudnn"),
        1,
        None,
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((None, ["l2=1GiB"], [], None, None), "--memory-pool l2"),
        ((None, ["tactic-dram"], [], None, None), "--memory-pool tactic-dram=: not an amount"),
        ((None, [], [], "cuda", None), "--tactic-sources cuda"),
    ],
)
def test_builder_options_that_are_none(arguments, why):
    with pytest.raises(ForgeError, match=why):
        options.builder(*arguments)


def test_int8_mode_by_device():
    orin, xavier = (Target(None, device(name)) for name in ("orin-nx", "xavier-nx"))
    assert options.weakly_typed(None, True, [orin]) is None
    assert options.weakly_typed("implicit", True, [orin]) is True
    assert options.weakly_typed("explicit", True, [orin]) is False
    assert options.weakly_typed(None, True, [xavier]) is True
    with pytest.raises(ForgeError, match=r"Xavier NX .* ends at TensorRT 8\.5\.2"):
        options.weakly_typed("explicit", True, [xavier])
    with pytest.raises(ForgeError, match="without --int8"):
        options.weakly_typed("implicit", False, [orin])
