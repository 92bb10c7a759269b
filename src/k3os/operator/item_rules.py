"""What is wrong with an item of a list, or a pair of a map: CEL expressions for the messages of
config/kinds.py, further.py, taints.py and certificates.py. Pure.

An item's text is the variable t; of a pair, n is the name and t the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from k3os.config import certificates, further
from k3os.config.key import Key
from k3os.config.taints import EFFECTS, FORM
from k3os.operator.cel import bound, choose, listed, literal, matches, said

WORD = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
DNS_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
OCTET = "0*([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])"


@dataclass(frozen=True)
class Rule:
    """most: longest text that it judges, in characters. odd: a pattern of texts that it leaves to
    the check, "" for the usual one."""

    expression: Callable[[Key], str]
    most: int = 400
    odd: str = ""


def choices(key: Key) -> str:
    """The check also suggests a similar name, if there is one."""
    known = ", ".join(key.values)
    return bound(
        "w",
        "t.trim().lowerAscii()",
        choose(
            (f"w in {listed(key.values)}", '""'),
            (f"!{matches('w', '[a-z0-9]+')}", '""'),
            other=said(f"`{{w}}` is unknown; known: {known}"),
        ),
    )


def taints(key: Key) -> str:
    """Of the form `name=value:Effect`."""
    effect = literal(f"^.+:({'|'.join(EFFECTS)})$")
    name = 't.substring(0, t.lastIndexOf(":"))'
    meant = "".join(
        f'(t.lowerAscii().endsWith("{each.lower()}") && e == "{each.lower()}" ? "{each}" : '
        for each in EFFECTS
    )
    meant += '""' + ")" * len(EFFECTS)
    hint = bound(
        "k",
        meant,
        f'(k != "" && !b.matches("^(=.*)?$") ? "write `" + b + ":" + k + "`" : {literal(FORM)})',
    )
    rest = bound(
        "b",
        f'(t.contains(":") ? {name} : "")',
        bound(
            "e",
            't.substring(t.lastIndexOf(":") + 1).lowerAscii()',
            choose(
                (
                    f't.matches({effect}) && !b.matches("^(=.*)?$")',
                    bound("q", 'b.split("=", 2)', _qualified("q[0]", '(size(q) > 1 ? q[1] : "")')),
                ),
                other=f'"`" + t + "` is not a taint; " + {hint}',
            ),
        ),
    )
    many = said("`{t}` is not a taint; write each as an item of the list")
    return choose(('t.contains(",")', many), other=rest)


def _qualified(name: str, value: str) -> str:
    """The messages of further.wrong_name and wrong_value."""
    prefix = f'({name}.contains("/") ? {name}.substring(0, {name}.lastIndexOf("/")) : "")'
    last = f'{name}.substring({name}.lastIndexOf("/") + 1)'
    word = further.WORDS
    dns = rf"{DNS_LABEL}(\.{DNS_LABEL})*"
    return choose(
        (f'{last} == ""', said(f"has no name; write {word}")),
        (
            f"!{matches(last, WORD)}",
            f'"`" + {last} + {literal(f"` is not a valid Kubernetes name; write {word}")}',
        ),
        (
            f'{name}.contains("/") && (size({prefix}) > {further.LONGEST_PREFIX} || '
            f"!{matches(prefix, dns)})",
            f'"`" + {prefix} + '
            + literal("` is not a valid Kubernetes prefix; write a DNS name in lower-case letters"),
        ),
        (
            f'{value} != "" && !{matches(value, WORD)}',
            f'"`" + {value} + {literal(f"` is not a valid Kubernetes value; write {word}")}',
        ),
    )


def labels(key: Key) -> str:
    def below(domains: str) -> str:
        return matches("n", rf"(.*\.)?({domains})/[^/]*")

    reserved = "|".join(each.replace(".", r"\.") for each in further.RESERVED)
    allowed = "|".join(each.replace(".", r"\.") for each in further.ALLOWED_PREFIXES)
    own = f"{below(reserved)} && !{below(allowed)} && !(n in {listed(further.ALLOWED)})"
    text = (
        "is one of Kubernetes' own labels, and a kubelet that is to set it does not start; "
        "`kubectl label node NAME {n}={t}` from a computer, or in a server's ready_cmd"
    )
    return choose((own, said(text)), other=_qualified("n", "t"))


def variables(key: Key) -> str:
    name = "[A-Za-z_][A-Za-z0-9_]*"
    meant = 'n.replace("-", "_").replace(".", "_")'
    hint = f'({matches("k", name)} ? "write " + k : "write letters, digits and `_`")'
    return choose(
        (matches("n", name), '""'),
        (matches("n", r"export .*|\s.*|.*\s"), '""'),
        other=f'"is not a valid variable name; " + {bound("k", meant, hint)}',
    )


def k3s_sums(key: Key) -> str:
    version = r"v[0-9]+\.[0-9]+\.[0-9]+(-[^+]*)?\+k3s[0-9]+"
    sums = r"\s*[0-9a-fA-F]{64}(\s+[0-9a-fA-F]{64})*\s*"
    return choose(
        (
            f"!{matches('n', version)}",
            said("is not a version of k3s; write it like v1.33.1+k3s1"),
        ),
        (
            f"!{matches('t', sums)}",
            said("is not a SHA-256; write 64 hex digits, or several with spaces in between"),
        ),
    )


def name_servers(key: Key) -> str:
    """IPv6 is left to the check."""
    return choose(
        (matches("t", rf"{OCTET}(\.{OCTET}){{3}}|.*[,;#:\s\[\]].*"), '""'),
        other=said("`{t}` is not an IP address; write an address, e.g. `1.1.1.1`"),
    )


def pem(key: Key) -> str:
    hint = certificates.HINT
    return choose(
        ('t.contains("PRIVATE KEY-----")', _private(hint)),
        # a URL or a path (config/fetched.py): the check judges it
        (r't.trim().matches("^(/.*|[^ ]*://.*)$")', '""'),
        (f"!t.contains({literal(certificates.BEGIN)})", _no_pem(hint)),
    )


def _private(hint: str) -> str:
    return literal(f"contains a private key, which nobody else may see; {hint}")


def _no_pem(hint: str) -> str:
    return literal(f"is not a certificate in PEM form; {hint}")


ITEM_RULES = {
    "choices": Rule(choices),
    "taints": Rule(taints),
    "name_servers": Rule(name_servers),
    "certificates": Rule(pem, 100_000, r"(?s).*([^ -~\n]|\$|\{\{|\{%|%\{|<%|\[[\"']).*"),
}
PAIR_RULES = {
    "labels": Rule(labels),
    "variables": Rule(variables),
    "k3s_sums": Rule(k3s_sums),
}
