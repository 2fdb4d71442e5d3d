"""From a mapping, as YAML gives it, to an object: names and options checked against signatures."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lsr.errors import UserError

T = TypeVar("T")


def construct(
    what: str,
    choices: Mapping[str, Callable[..., T]],
    config: Mapping[str, Any] | str,
    given: Mapping[str, object] | None = None,
) -> T:
    """Return the choice that `config` names, made with its other entries as options.

    `what` says in messages what is being chosen. A string is a name without options. `given`: what the
    program knows and a file cannot hold (an IDF table); passed on to those that take it, required
    of none else, and no option of the file.
    """
    settings = {"name": config} if isinstance(config, str) else dict(config)
    name = settings.pop("name", None)
    if name is None:
        raise UserError(f"a {what} has no name; give it one of {_listed(choices)} as name.")
    if name not in choices:
        raise UserError(f"{what} {name!r} is unknown; choose {_listed(choices)}.")
    maker = choices[name]
    given = given or {}
    # A class without an initialiser of its own shows its base's *args and **kwargs.
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    signature = inspect.signature(maker).parameters
    parameters = {name: parameter for name, parameter in signature.items() if parameter.kind not in variable}
    options = [option for option in parameters if option not in given]
    for option in settings:
        if option not in options:
            takes = f"choose {_listed(options)}" if options else "it takes none"
            raise UserError(f"{what} {name!r} has no option {option!r}; {takes}.")
    initialiser = maker.__init__ if inspect.isclass(maker) else maker
    hints = get_type_hints(initialiser)
    arguments: dict[str, Any] = {
        option: _value(f"{what} {name!r}: {option}", value, hints.get(option, object))
        for option, value in settings.items()
    }
    for option, parameter in parameters.items():
        if option in given:
            if given[option] is None and parameter.default is inspect.Parameter.empty:
                raise UserError(
                    f"{what} {name!r} needs {option.replace('_', ' ')}, which this encoder has not."
                )
            arguments[option] = given[option]
        elif option not in arguments and parameter.default is inspect.Parameter.empty:
            raise UserError(f"{what} {name!r} needs the option {option!r}.")
    return maker(**arguments)


def number(name: str, value: Any) -> float:
    """Return a setting as a float, or raise `UserError`."""
    converted = _value(name, value, float)
    assert isinstance(converted, float)
    return converted


def _value(name: str, value: Any, hint: Any) -> object:
    """Return a setting as its annotation asks, or raise `UserError`.

    YAML 1.1 reads 5e-4 as a string, because it has no point; where a number belongs it is one.
    """
    if get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        if value is None and len(inner) < len(get_args(hint)):
            return None
        hint = inner[0]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UserError(f"{name} is {value!r}; choose {_listed(get_args(hint))}.")
        return value
    if hint is bool and not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; it must be true or false.")
    if hint in (int, float):
        try:
            converted = float(value)
        except (TypeError, ValueError):
            converted = float("nan")
        if isinstance(value, bool) or converted != converted:
            raise UserError(f"{name} is {value!r}; it must be a number.")
        if hint is float:
            return converted
        if not converted.is_integer():
            raise UserError(f"{name} is {value!r}; it must be a whole number.")
        return int(converted)
    return value


def _listed(names: Any) -> str:
    *first, last = [str(name) for name in names]
    return f"{', '.join(first)} or {last}" if first else last
