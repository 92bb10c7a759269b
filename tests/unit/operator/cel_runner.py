"""Evaluates a ValidatingAdmissionPolicy as the API server does: conditions, variables, messages.

Uses the package common-expression-language, and adds Kubernetes' functions for strings and lists
(kubernetes.io, "Common Expression Language in Kubernetes").
"""

from typing import Any

import cel

LONGEST_MESSAGE = 5 * 1024


def _substring(text: str, start: int, end: int | None = None) -> str:
    if not 0 <= start <= (len(text) if end is None else end) <= len(text):
        raise IndexError(f"substring({start}, {end}) of {len(text)} characters")
    return text[start:end]


def _split(text: str, separator: str, most: int = -1) -> list[str]:
    return text.split(separator, most - 1 if most > 0 else most)


FUNCTIONS = {
    "trim": lambda text: text.strip(),
    "lowerAscii": lambda text: "".join(c.lower() if c.isascii() else c for c in text),
    "replace": lambda text, old, new: text.replace(old, new),
    "join": lambda texts, separator="": separator.join(texts),
    "lastIndexOf": lambda text, part: text.rfind(part),
    "substring": _substring,
    "split": _split,
}


class Runner:
    """Compiles the policy once; `refusal` returns the message that `kubectl` would show, "" for
    none."""

    def __init__(self, policy: dict[str, Any]) -> None:
        spec = policy["spec"]
        self.conditions = [cel.compile(each["expression"]) for each in spec["matchConditions"]]
        self.variables = [
            (each["name"], cel.compile(each["expression"])) for each in spec["variables"]
        ]
        (validation,) = spec["validations"]
        self.holds = cel.compile(validation["expression"])
        self.message = cel.compile(validation["messageExpression"])

    def refusal(self, new: dict[str, Any], old: dict[str, Any] | None = None) -> str:
        variables: dict[str, Any] = {}
        context = cel.Context()
        for name, function in FUNCTIONS.items():
            context.add_function(name, function)
        context.add_variable("object", new)
        context.add_variable("oldObject", old)
        if not all(each.execute(context) for each in self.conditions):
            return ""
        for name, program in self.variables:
            context.add_variable("variables", variables)
            variables[name] = program.execute(context)
        context.add_variable("variables", variables)
        if self.holds.execute(context):
            return ""
        message = self.message.execute(context)
        assert message.strip() and "\n" not in message, "the API server shows no such message"
        assert len(message.encode()) <= LONGEST_MESSAGE
        return str(message)
