"""The one error tree.

Every error that a person can meet is a :class:`NightwellError` and says five things: what it is about, what was
expected, what was found, the likely cause, and what to do next. Code that handles errors looks at the class, never at
the text.
"""

from __future__ import annotations


class NightwellError(Exception):
    """An error that a person can act on.

    Parameters
    ----------
    subject
        What the error is about, named as the person names it: ``volume 'well-7'``.
    expected, found
        What had to hold, and what was there instead.
    cause
        The likely cause, in one clause.
    next_step
        What to do now, as an instruction.
    """

    #: True when trying the same call again later may succeed (a driver classifies; a wrapper retries).
    transient = False

    def __init__(self, subject: str, *, expected: str, found: str, cause: str, next_step: str) -> None:
        self.subject = subject
        self.expected = expected
        self.found = found
        self.cause = cause
        self.next_step = next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        return (
            f"{self.subject}: expected {self.expected}; found {self.found}. "
            f"Likely cause: {self.cause}. Next step: {self.next_step}."
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions (Dask and Prefect pickle them).
        return (_rebuild, (type(self), self.__dict__.copy()))

    def as_dict(self) -> dict[str, str]:
        """Return the error as plain text fields, for ``--json`` and for crossing a process boundary."""
        return {
            "error": type(self).__name__,
            "subject": self.subject,
            "expected": self.expected,
            "found": self.found,
            "cause": self.cause,
            "next_step": self.next_step,
        }


def _rebuild(kind: type[NightwellError], fields: dict[str, object]) -> NightwellError:
    error = kind.__new__(kind)
    error.__dict__.update(fields)
    Exception.__init__(error, str(error))
    return error


def from_dict(fields: dict[str, str]) -> NightwellError:
    """Rebuild an error that crossed a process boundary; an unknown class comes back as the root class."""
    kinds = {kind.__name__: kind for kind in _all_kinds(NightwellError)}
    kind = kinds.get(fields.get("error", ""), NightwellError)
    names = ("subject", "expected", "found", "cause", "next_step")
    return _rebuild(kind, {name: fields.get(name, "unknown") for name in names})


def _all_kinds(kind: type[NightwellError]) -> list[type[NightwellError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all_kinds(child))]


class SettingsError(NightwellError):
    """A setting is missing or wrong."""


class InputError(NightwellError):
    """What a person gave (an argument, a file) cannot be used."""


class NotFoundError(NightwellError):
    """A named thing does not exist."""


class ConflictError(NightwellError):
    """The thing exists, but its state forbids the call (a pair, an attachment, another owner)."""


class BusyError(ConflictError):
    """Another run holds the volume; trying later may succeed."""

    transient = True


class UnreachableError(NightwellError):
    """An array, a store or a site did not answer; trying later may succeed."""

    transient = True


class CredentialsError(NightwellError):
    """The other side answered and refused who we are."""


class FormatError(NightwellError):
    """Data of a format or a version that this release cannot read."""


class IntegrityError(NightwellError):
    """Bytes are not what they were when they were written."""


class FencedError(NightwellError):
    """The run has lost its lease to a newer one and must not change anything any more."""


class UnknownOutcomeError(NightwellError):
    """It cannot be told whether an effect happened; it is neither a success nor a failure."""
