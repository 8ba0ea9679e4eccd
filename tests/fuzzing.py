"""schemathesis over the Ledger API: what it asks, which checks it makes, and what it found."""

import copy
import re
from collections import Counter
from dataclasses import dataclass, field

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData

SHOWN_BYTES = 500
REAL_NAMES = 0.8
"""How often a name in a path is one that there is."""
RIGHTLY_REFUSED = {
    r"^cursor is ": "a cursor is opaque: only those that an answer gave are taken, and no schema says which",
    r"^from \(.*\) is not before to ": "two moments that are right by themselves, the wrong way round",
    r"^From .* there are \d+ (hour|day)s": "two moments too far apart for one answer",
    r"^(from|to) is '(?!19[789][1-9]|20|210[0-5])": "the format date-time has years that a price cannot have",
    r"^The body must have one of endpoint and policy": "one of two fields, each of which may be left out",
    r"^The body has headers and no status": "a field that makes sense beside another one alone",
    r": Input should be a valid integer$": "200.0 is an integer to JSON Schema, and a float to who reads JSON",
}
"""Why a 400 is right for a request each part of which is right by itself; the problem's ``detail`` to the reason."""


UNANSWERABLE = {"POST /v1/throttle/report": "a lease is reported once, under a name that only its answer told"}
"""Operations no made-up request is answered 200 by; their examples are, see test_api_examples."""


@dataclass
class Tally:
    """What came of runs: requests by status, those of each operation that got 200, checks, what failed in words."""

    statuses: Counter = field(default_factory=Counter)
    answered: Counter = field(default_factory=Counter)
    checks: Counter = field(default_factory=Counter)
    failures: dict = field(default_factory=dict)
    errors: list = field(default_factory=list)

    @property
    def cases(self):
        return sum(self.statuses.values())

    def add(self, recorder):
        for case_id, interaction in recorder.interactions.items():
            response = interaction.response
            operation = recorder.cases[case_id].value.operation.label
            self.statuses[response.status_code if response else "no answer"] += 1
            self.answered[operation] += bool(response) and response.status_code == 200
            for check in recorder.checks.get(case_id, ()):
                self.checks[check.name, check.status] += 1
                if check.status == Status.FAILURE:
                    failure = check.failure_info.failure
                    told = self.failures.setdefault((check.name, operation, failure.title), [])
                    request = f"{interaction.request.method} {interaction.request.uri}"
                    told.append(f"{request}\n{failure.message}\n{response.content[:SHOWN_BYTES] if response else ''}")

    def take(self, other):
        """Add what another run came to."""
        for mine, theirs in (
            (self.statuses, other.statuses),
            (self.answered, other.answered),
            (self.checks, other.checks),
        ):
            mine.update(theirs)
        for key, told in other.failures.items():
            self.failures.setdefault(key, []).extend(told)
        self.errors += other.errors

    def made(self, check):
        return sum(count for (name, _), count in self.checks.items() if name == check)

    def failed(self, check):
        return self.checks[check, Status.FAILURE]

    def unanswered(self):
        """Operations that never answered 200, although they could have."""
        return [name for name, count in self.answered.items() if not count and name not in UNANSWERABLE]

    def told(self):
        """One example of each kind of failure."""
        return "\n\n".join(f"{len(told)} × {' · '.join(kind)}\n{told[0]}" for kind, told in self.failures.items())


def closed(document):
    """``document`` in which an answer may have no field but those named: what we ourselves must not answer."""
    strict = copy.deepcopy(document)
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return strict


def is_failure(context, failure, case, response):
    """Whether a check rightly failed: not where a request was `RIGHTLY_REFUSED`."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    return not any(re.search(pattern, response.json()["detail"]) for pattern in RIGHTLY_REFUSED)


def fuzz(address, document, names, *, key, examples, seed):
    """Ask what ``document`` describes at ``address``; ``names``: what there is, by ``location.name``."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": address,
            "request-timeout": 60,
            "continue-on-failure": True,
            "auth": {"openapi": {"key": {"api_key": key}, "bearer": {"bearer": key}}},
            "dictionaries": {name: {"values": values} for name, values in names.items()},
            "parameters": {name: {"dictionary": name, "probability": REAL_NAMES} for name in names},
            "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
            "operations": [{"include-path": "/v1/events", "request-timeout": 5, "max-stream-events": 1}],
        }
    )
    schema = schemathesis.openapi.from_dict(closed(document), config=config)
    schema.hook("filter_failure")(is_failure)
    tally = Tally()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                tally.add(event.recorder)
            case events.NonFatalError():
                tally.errors.append(repr(event.value))
            case events.FatalError():
                tally.errors.append(repr(event.exception))
    return tally
