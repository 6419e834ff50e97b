"""Turn the options of ``deepstream config`` and ``deepstream app`` into what the writers take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from trtforge.errors import ForgeError
from trtforge.options.values import (
    Names,
    PathLike,
    Size,
    check_at_least,
    check_share,
    names_of,
    parse_choice,
    parse_class_ids,
    parse_threshold,
    parse_version,
    parse_width_height,
    path_of,
)

if TYPE_CHECKING:
    from trtforge.deepstream.app.streams import Stream
    from trtforge.deepstream.config.describe import Model, NetworkRequest
    from trtforge.deepstream.config.nvinfer import Objects


@dataclass(frozen=True)
class NetworkOptions:
    """The options of a network, as ``trtforge.api.deepstream.deepstream_config`` takes them."""

    sgie: bool
    on_gie: int
    on_classes: str | Sequence[int] | None
    least_object: Size | None
    unique_id: int | None
    network: str | None
    tensor_meta: bool
    parser: str | None
    parser_lib: str | None
    cluster: bool
    batch: int | None
    score: float | None
    threshold: Names
    calibration: PathLike | None
    rest: str


def network_request(options: NetworkOptions) -> NetworkRequest:
    """Return what the options of ``deepstream config`` ask for.

    Raises:
        ForgeError: an option is out of its range, or two contradict each other.
    """
    from trtforge.deepstream.config.describe import NetworkRequest
    from trtforge.deepstream.config.graph import Kind
    from trtforge.deepstream.config.nvinfer import STOCK_PARSERS, Parser

    _check_contradictions(options)
    if options.unique_id is not None:
        unique_id = check_at_least(options.unique_id, 1, "--unique-id")
    else:
        unique_id = 2 if options.sgie else 1
    if options.sgie and unique_id == options.on_gie:
        raise ForgeError(
            f"--on-gie {options.on_gie}: is the network itself, whose --unique-id is {unique_id}",
            f"for example --unique-id {unique_id + 1}",
        )
    kinds: tuple[Kind, ...] = get_args(Kind)
    named = tuple(kind for kind in kinds if kind != "tensors")
    kind: Kind | None = "tensors" if options.tensor_meta else None
    if options.network:
        kind = parse_choice(options.network, named, "--network")
    parser = None
    if options.parser:
        library = options.parser_lib or STOCK_PARSERS
        parser = Parser(_word(options.parser), _word(library), not options.cluster)
    return NetworkRequest(
        kind=kind,
        parser=parser,
        batch=None if options.batch is None else check_at_least(options.batch, 1, "--batch"),
        score=None if options.score is None else check_share(options.score, "--score"),
        thresholds=dict(parse_threshold(text) for text in names_of(options.threshold)),
        cache=path_of(options.calibration),
        rest=parse_choice(options.rest, ("fp16", "fp32"), "--rest"),
        unique_id=unique_id,
        objects=_objects(options) if options.sgie else None,
    )


def open_model(path: PathLike, recipe: PathLike | None, labels: PathLike | None) -> Model:
    """Return the model at a path, with the recipe and the labels of the user above its own."""
    from trtforge.api.recipes import load_recipe
    from trtforge.deepstream.config import describe

    model = describe.model(Path(path), load_recipe(recipe) if recipe else None)
    if labels is None:
        return model
    return replace(model, recipe=model.recipe.model_copy(update={"labels": Path(labels)}))


def deepstream_version(version: str | None, default: str | None) -> str:
    """Return the version that will read the files: the user's, else the model's, else our own."""
    from trtforge.devices.stacks import default_deepstream

    return parse_version(version) or default or default_deepstream()


def cameras(file: PathLike | None, stream: Names) -> tuple[Stream, ...]:
    """Return all cameras, those of the file first."""
    from trtforge.deepstream.app import streams

    listed = streams.read(Path(file)) if file else []
    given = enumerate(names_of(stream), 1)
    return (*listed, *(streams.parse(text, f"--stream {number}: ") for number, text in given))


def _check_contradictions(options: NetworkOptions) -> None:
    secondary = options.on_classes or options.least_object or options.on_gie != 1
    if secondary and not options.sgie:
        raise ForgeError(
            "--on-gie, --on-classes and --least-object are for secondary networks", "add --sgie"
        )
    if options.tensor_meta and (options.network or options.parser):
        raise ForgeError(
            "--network and --parser have no effect with --tensor-meta", "drop one of them"
        )
    if options.parser_lib and not options.parser:
        raise ForgeError("--parser-lib needs the name of a function in it", "add --parser NAME")
    if options.cluster and not options.parser:
        raise ForgeError("--cluster has no effect without --parser", "add --parser NAME")


def _objects(options: NetworkOptions) -> Objects:
    from trtforge.deepstream.config.nvinfer import Objects

    smallest = (0, 0)
    if options.least_object:
        smallest = parse_width_height(options.least_object, "--least-object")
    on_gie = check_at_least(options.on_gie, 1, "--on-gie")
    return Objects(on_gie, parse_class_ids(options.on_classes), smallest)


def _word(text: str) -> str:
    if any(ord(char) < 33 or char in "#;\"'\\" for char in text):
        raise ForgeError(f"{text!r}: not a name that nvinfer's configuration can hold")
    return text
