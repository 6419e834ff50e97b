"""Turn functions of the Python API into typer commands.

The signature of an API function is the only place that names its options. Each parameter that
carries an ``Option`` or ``Argument``, and each field of a ``Group``, becomes a parameter that typer
reads; ``--json`` is added. The decorated function gets the result, and returns the text for
people::

    @command("graphs.cast")
    def cast(result: FileResult) -> str:
        \"\"\"Cast float tensors to FP16 ... (the text of --help)\"\"\"
        return f"{result.out}: {result.summary}"

It may also take arguments of the API function by name. The decorator gets the API function's name
instead of the function, and a command is expanded when it is run: so ``--help`` of all commands
imports nothing of the API.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from typing import Annotated, Generic, Optional, TypeVar, cast, get_args

import typer
from typer.core import TyperCommand
from typer.main import get_command
from typer.models import ParameterInfo

from trtforge.cli.output import AsJson, show
from trtforge.errors import ForgeError
from trtforge.options.option import Argument, Group, Option

Result = TypeVar("Result")
Other = TypeVar("Other")
AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=AsJson,
)


@dataclass(frozen=True)
class Command:
    """A command before it is expanded.

    Attributes:
        run: gets the values that typer read, by name.
        signature: makes the parameters for typer.
    """

    name: str
    help: str
    run: Callable[..., None]
    signature: Callable[[], inspect.Signature]


class Run(Generic[Result]):
    """A call of an API function with the arguments of the command line.

    Attributes:
        arguments: the arguments by the names of the function's parameters.
    """

    def __init__(self, function: Callable[..., Result], arguments: Mapping[str, object]) -> None:
        self.function = function
        self.arguments = arguments

    def __call__(self) -> Result:
        return self.function(**self.arguments)

    def instead(self, function: Callable[..., Other]) -> Other:
        """Call another API function with the arguments that it has parameters for."""
        names = inspect.signature(function).parameters
        shared = {name: value for name, value in self.arguments.items() if name in names}
        return function(**shared)


def command(
    path: str, *, before: Mapping[str, str] | None = None
) -> Callable[[Callable[..., str]], Command]:
    """Make a command that calls an API function, and prints what the decorated function returns.

    A gate that is not met still lets the result be printed: the error carries it.

    Args:
        path: the API function by its module in ``trtforge.api``, such as "make.build".
        before: options that ``--help`` shows in front of another one, by name.
    """

    def decorate(text: Callable[..., str]) -> Command:
        def run(call: Run[object], as_json: bool) -> None:
            names = list(inspect.signature(text).parameters)[1:]
            extra = {name: call.arguments[name] for name in names}

            def print_result(result: object) -> None:
                show(as_json, result, lambda: text(result, **extra))

            try:
                result = call()
            except ForgeError as error:
                if error.result is not None:
                    print_result(error.result)
                raise
            print_result(result)

        run.__name__, run.__doc__ = text.__name__, text.__doc__
        return custom_command(path, before=before)(run)

    return decorate


def custom_command(
    path: str, *, before: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Command]:
    """Make a command of a function that decides itself how to call the API and what to print.

    The decorated function gets a ``Run`` and, by name, ``as_json`` and the options that it adds.
    """

    def decorate(body: Callable[..., None]) -> Command:
        def added() -> list[inspect.Parameter]:
            parameters = inspect.signature(body).parameters.values()
            return [parameter for parameter in parameters if _metadata(parameter.annotation)]

        def run(**values: object) -> None:
            names = [parameter.name for parameter in added()] + ["as_json"]
            extra = {name: values.pop(name) for name in names if name in values}
            function = _api_function(path)
            body(Run(function, _arguments(function, values)), **extra)

        def signature() -> inspect.Signature:
            as_json = "as_json" in inspect.signature(body).parameters
            return _signature(_api_function(path), added(), before or {}, as_json)

        return Command(_name(body), inspect.cleandoc(body.__doc__ or ""), run, signature)

    return decorate


def plain_command(body: Callable[..., None]) -> Command:
    """Make a command of a function whose signature typer reads as it is."""
    help_text = inspect.cleandoc(body.__doc__ or "")
    return Command(_name(body), help_text, body, lambda: inspect.signature(body))


def add(app: typer.Typer, command: Command, name: str = "") -> None:
    """Add a command to an app."""

    class Deferred(TyperCommand):
        """The command's name and help; it is expanded as it gets its arguments."""

        make_context = staticmethod(
            lambda *args, **extra: expanded(command).make_context(*args, **extra)
        )

    def placeholder() -> None:
        """Take the place of the command until its options are needed."""

    app.command(name or command.name, help=command.help, cls=Deferred)(placeholder)


def expanded(command: Command) -> TyperCommand:
    """Return the command with all its options."""

    def callback(**values: object) -> None:
        command.run(**values)

    callback.__signature__ = command.signature()  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(command.name, help=command.help)(callback)
    return cast("TyperCommand", get_command(app))


def _api_function(path: str) -> Callable[..., object]:
    """Return the function at a path such as "make.build"; its module is imported only now."""
    module, _, name = path.partition(".")
    function: Callable[..., object] = getattr(import_module(f"trtforge.api.{module}"), name)
    return function


def _name(function: Callable[..., object]) -> str:
    return function.__name__.strip("_").replace("_", "-")


def _signature(
    function: Callable[..., object],
    added: list[inspect.Parameter],
    before: Mapping[str, str],
    as_json: bool,
) -> inspect.Signature:
    parameters = [*_flat(function), *map(_for_typer, added)]
    found = {parameter.name: parameter for parameter in parameters}
    for name, next_name in before.items():
        moved = found.pop(name)
        names = list(found)
        place = names.index(next_name)
        found = {
            **{key: found[key] for key in names[:place]},
            name: moved,
            **{key: found[key] for key in names[place:]},
        }
    if as_json:
        found["as_json"] = AS_JSON
    return inspect.Signature(
        [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in found.values()]
    )


def _flat(function: Callable[..., object]) -> Iterator[inspect.Parameter]:
    """Yield a parameter for typer for each option of an API function."""
    for parameter in inspect.signature(function).parameters.values():
        metadata = _metadata(parameter.annotation)
        if isinstance(metadata, Group):
            for field in _fields(metadata):
                default = field.default if field.default is not MISSING else inspect.Parameter.empty
                yield _for_typer(
                    inspect.Parameter(
                        field.name, parameter.KEYWORD_ONLY, default=default, annotation=field.type
                    )
                )
        elif metadata:
            yield _for_typer(parameter)


def _fields(group: Group) -> list[Field[object]]:
    return [field for field in fields(group.kind) if field.name not in group.without]  # type: ignore[arg-type]


def _arguments(function: Callable[..., object], values: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments of an API function, by name, from the values that typer read."""
    arguments: dict[str, object] = {}
    for parameter in inspect.signature(function).parameters.values():
        metadata = _metadata(parameter.annotation)
        if isinstance(metadata, Group):
            members = _fields(metadata)
            options = _values_for({field.name: field.type for field in members}, values)
            arguments[parameter.name] = metadata.kind(**options)
        elif metadata:
            arguments |= _values_for({parameter.name: parameter.annotation}, values)
    return arguments


def _values_for(
    annotations: Mapping[str, object], values: Mapping[str, object]
) -> dict[str, object]:
    """Return the values of some options, as the API takes them."""
    found: dict[str, object] = {}
    for name, annotation in annotations.items():
        value, metadata = values[name], _metadata(annotation)
        if isinstance(metadata, Option) and metadata.inverted:
            found[name] = not value
        elif isinstance(metadata, (Option, Argument)) and metadata.repeated and value is None:
            continue
        else:
            found[name] = value
    return found


def _metadata(annotation: object) -> Option | Argument | Group | None:
    for item in getattr(annotation, "__metadata__", ()):
        if isinstance(item, (Option, Argument, Group)):
            return item
    return None


def _for_typer(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the parameter with the annotation and the default that typer reads."""
    metadata = _metadata(parameter.annotation)
    assert isinstance(metadata, (Option, Argument))
    base: object = metadata.reads or get_args(parameter.annotation)[0]
    default: object = parameter.default
    if metadata.repeated:
        base = list[metadata.reads]  # type: ignore[name-defined]
        default = default if default is inspect.Parameter.empty else None
    if isinstance(metadata, Option) and metadata.inverted:
        default = not default
    if default is None and metadata.reads:
        base = Optional[base]
    annotation = Annotated[base, _info(metadata)]  # type: ignore[valid-type]
    return parameter.replace(annotation=annotation, default=default)


def _info(metadata: Option | Argument) -> ParameterInfo:
    if isinstance(metadata, Argument):
        return cast("ParameterInfo", typer.Argument(help=metadata.help))
    found = typer.Option(*metadata.names, help=metadata.help, min=metadata.low, max=metadata.high)
    return cast("ParameterInfo", found)
