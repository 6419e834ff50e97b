"""From the words of ``trtforge deepstream`` to its nouns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from trtforge import parse
from trtforge.deepstream.config import describe
from trtforge.deepstream.config.graph import Kind
from trtforge.deepstream.config.nvinfer import STOCK_PARSERS, Objects, Parser
from trtforge.deepstream.format import streams as sources
from trtforge.devices.stacks import default_deepstream
from trtforge.errors import ForgeError
from trtforge.options import recipe as recipes
from trtforge.recipe import Recipe

one_of = parse.one_of


def wish(
    *,
    sgie: bool,
    on_gie: int,
    on_classes: str | None,
    least_object: str | None,
    unique_id: int | None,
    network: str | None,
    tensor_meta: bool,
    parser: str | None,
    parser_lib: str | None,
    cluster: bool,
    batch: int | None,
    score: float | None,
    thresholds: Sequence[str],
    calibration: Path | None,
    rest: str,
) -> describe.Wish:
    """What the options of ``deepstream config`` ask for.

    Raises:
        ForgeError: one is out of range, or two contradict each other.
    """
    if not sgie and (on_classes or least_object or on_gie != 1):
        raise ForgeError(
            "--on-gie, --on-classes and --least-object are for secondary networks", "add --sgie"
        )
    if tensor_meta and (network or parser):
        raise ForgeError(
            "--tensor-meta hands out raw tensors: no --network, no --parser", "drop one of them"
        )
    if bool(parser_lib) > bool(parser):
        raise ForgeError("--parser-lib needs the name of a function in it", "add --parser NAME")
    if cluster and not parser:
        raise ForgeError(
            "--cluster is for boxes that a parser hands out unsuppressed", "add --parser NAME"
        )
    own = at_least(unique_id if unique_id is not None else 2 if sgie else 1, 1, "--unique-id")
    if sgie and own == on_gie:
        raise ForgeError(
            f"--on-gie {on_gie}: is the network itself, whose --unique-id is {own}",
            f"for example --unique-id {own + 1}",
        )
    kinds = tuple(kind for kind in get_args(Kind) if kind != "tensors")
    kind = "tensors" if tensor_meta else one_of(network, kinds, "--network") if network else None
    return describe.Wish(
        kind=cast("Kind | None", kind),
        parser=Parser(_word(parser), _word(parser_lib or STOCK_PARSERS), not cluster)
        if parser
        else None,
        batch=None if batch is None else at_least(batch, 1, "--batch"),
        score=None if score is None else _share(score, "--score"),
        thresholds=dict(_threshold(text) for text in thresholds),
        cache=calibration,
        rest=one_of(rest, ("fp16", "fp32"), "--rest"),
        unique_id=own,
        objects=Objects(
            at_least(on_gie, 1, "--on-gie"),
            _numbers(on_classes),
            pair(least_object, "--least-object") if least_object else (0, 0),
        )
        if sgie
        else None,
    )


def model(path: Path, recipe_name: str | None, labels: Path | None) -> describe.Model:
    """What lies at ``path``, with recipe and labels of the command line above its own."""
    given = recipe(recipe_name)
    found = describe.model(path, given)
    if labels is None:
        return found
    return replace(found, recipe=found.recipe.model_copy(update={"labels": labels}))


def recipe(name: str | None) -> Recipe | None:
    return recipes.load(name) if name else None


def version(given: str | None, known: str | None) -> str:
    return parse.version(given) or known or default_deepstream()


def streams(file: Path | None, given: Sequence[str]) -> tuple[sources.Stream, ...]:
    """All cameras: of the list first."""
    listed = sources.read(file) if file else []
    return (
        *listed,
        *(sources.parse(text, f"--stream {number}: ") for number, text in enumerate(given, 1)),
    )


def pair(text: str, option: str) -> tuple[int, int]:
    """``WxH`` in pixels."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower())
    if not found:
        raise ForgeError(f"{option} {text}: not WxH", f"for example {option} 64x64")
    return int(found[1]), int(found[2])


def at_least(number: int, low: int, option: str) -> int:
    if number < low:
        raise ForgeError(f"{option} {number}: under {low}", "")
    return number


def port(number: int) -> int:
    if not 1 <= number <= 65535:
        raise ForgeError(f"--port {number}: not from 1 to 65535", "")
    return number


def _share(number: float, option: str) -> float:
    if not 0 <= number < 1:
        raise ForgeError(f"{option} {number:g}: not from 0 to 1", "")
    return number


def _numbers(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = re.split(r"[,;]", text)
    if not all(part.strip().isdecimal() for part in parts):
        raise ForgeError(f"--on-classes {text}: not class ids", "for example --on-classes 0,2")
    return tuple(int(part) for part in parts)


def _threshold(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name, _share(float(number), f"--threshold {name}=")
    except ValueError as error:
        raise ForgeError(
            f"--threshold {text}: not CLASS=SCORE", "for example --threshold car=0.5"
        ) from error


def _word(text: Any) -> str:
    if any(ord(char) < 33 or char in "#;\"'\\" for char in str(text)):
        raise ForgeError(f"{text!r}: not a name that nvinfer's configuration can hold", "")
    return str(text)
