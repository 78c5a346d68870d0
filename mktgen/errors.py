"""Errors by what should happen next. Airflow's retry policy (plugins/mktgen_airflow) reads these classes."""


class MktgenError(Exception):
    """Base of the product's own errors; the message says what was wrong, where, and what to do."""


class PermanentError(MktgenError):
    """The same input will fail again: stop at once, a person must act."""


class TransientError(MktgenError):
    """Something outside was unavailable: try again later."""


class QuarantineOverflow(PermanentError):
    """Too many rows broke a rule; the message names table, rule, count and an example."""


class MissingArtefact(PermanentError):
    """An artefact that a step reads has not been written; the message names the step that writes it."""


class CorruptArtefact(PermanentError):
    """Stored bytes do not match their manifest."""


class NonDeterminism(PermanentError):
    """The same derivation gave different bytes twice."""


class GateFailed(PermanentError):
    """A check stopped the line; the message lists the reasons."""


class NotAllowed(PermanentError):
    """An action that must not happen (a send without approval, a replayed day, a second send)."""
