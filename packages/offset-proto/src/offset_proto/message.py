"""
The base of all message classes: frozen, compared by value, cheap to declare.

`dataclasses.dataclass(frozen=True, slots=True)` takes half a millisecond for each class, which a command-line
program with a hundred of them feels. `frozen` makes the same kind of class at a fifth of that: equality, hash
and representation are inherited, and only ``__init__`` is generated, which takes half the time, too.
``dataclasses.fields`` and ``dataclasses.replace`` work on them as on any dataclass, and `replace` does the latter in
less time.
"""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, fields
from functools import cache
from inspect import get_annotations
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, cast, dataclass_transform

__all__ = ["Message", "frozen", "replace"]

T = TypeVar("T", bound=type)


class Message:
    """A frozen value made of named fields."""

    __slots__ = ()
    _values: ClassVar[Any] = staticmethod(lambda message: ())
    _defaults: ClassVar[Mapping[str, Any]] = {}

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._values(self) == self._values(other))

    def __hash__(self) -> int:
        return hash((type(self), self._values(self)))

    def __repr__(self) -> str:
        parts = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(cast(Any, self)))
        return f"{type(self).__name__}({parts})"


@dataclass_transform(frozen_default=True, field_specifiers=())
def frozen(cls: T) -> T:
    """
    Turn a class with annotated fields into a `Message`. Defaults must be immutable, as they are shared.

    Where it is derived from a message already, its fields come after those of that one.
    """
    annotations = get_annotations(cls)
    own = tuple(annotations)
    defaults = {name: vars(cls)[name] for name in own if name in vars(cls)}
    bases = cls.__bases__ if issubclass(cls, Message) else (Message,)
    # From Python 3.14 on a class body holds a function that makes the annotations, and not these.
    left_out = ("__dict__", "__weakref__", "__annotate_func__", "__annotations_cache__", *defaults)
    namespace = {name: value for name, value in vars(cls).items() if name not in left_out}
    made: Any = type(cls.__name__, bases, {**namespace, "__annotations__": annotations, "__slots__": own})
    made = dataclass(init=False, repr=False, eq=False)(made)
    names = tuple(field.name for field in fields(made))
    made._defaults = {**made._defaults, **defaults}
    made.__init__ = _make_init(made, names, made._defaults)
    if names:
        made._values = staticmethod(attrgetter(*names))
    return cast(T, made)


def _make_init(cls: type, names: tuple[str, ...], defaults: Mapping[str, Any]) -> Any:
    # Setting a slot by its descriptor passes by __setattr__, which refuses.
    known = {f"_set_{name}": getattr(cls, name).__set__ for name in names}
    known |= {f"_default_{name}": value for name, value in defaults.items()}
    parameters = ["self", *(f"{name}=_default_{name}" if name in defaults else name for name in names)]
    body = "\n".join(f"    _set_{name}(self, {name})" for name in names) or "    pass"
    scope: dict[str, Any] = {}
    exec(f"def __init__({', '.join(parameters)}):\n{body}\n", known, scope)
    return scope["__init__"]


if TYPE_CHECKING:
    from dataclasses import replace  # type checkers know which changes it takes
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """
        A copy of a frozen value with some fields changed, as by ``dataclasses.replace``.

        That one walks through the fields each time, and each change of a node's state copies some values; this makes
        a function for each class. All fields must be those of ``__init__``.

        Args:
            value: A `Message`, or an instance of a dataclass.
            changes: By names of fields.

        Raises:
            TypeError: There is no such field.
        """
        return _copier(type(value))(value, **changes)


@cache
def _copier(cls: Any) -> Any:
    """What copies a value of one class: ``_cls(_of.a if a is _same else a, ...)``."""
    parts = [
        f"{f'{field.name}=' if field.kw_only else ''}_of.{field.name} if {field.name} is _same else {field.name}"
        for field in fields(cls)
    ]
    parameters = "".join(f", {field.name}=_same" for field in fields(cls))
    keywords = f", *{parameters}" if parameters else ""
    scope: dict[str, Any] = {"_cls": cls, "_same": object()}
    exec(f"def copy(_of, /{keywords}):\n    return _cls({', '.join(parts)})\n", scope)
    return scope["copy"]
