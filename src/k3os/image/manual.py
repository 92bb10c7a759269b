"""The manual pages: k3os(1), one for each command, k3os-config(5), in man(7).

They are generated from the output of `--help` and the configuration's schema, so they always agree
with both. This module knows no commands itself.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from k3os import __version__
from k3os.config.key import MERGE_WORDS, Key
from k3os.config.reference import kind_of
from k3os.config.schema import TABLE
from k3os.image.help_text import K3OS, PLUGIN, Block, Help, Item, ask, parse

ARTIFACT = "k3os-manual.tar.gz"
# of no use to people
INTERNAL = ("init",)
FILES = (
    ("/k3os/system/config.yaml", "the configuration of the boot medium or the installed system"),
    ("/var/lib/rancher/k3os/config.yaml", "the node's own; stronger than the kernel command line"),
    ("/var/lib/rancher/k3os/config.d/*", "the strongest, in the order of their names"),
)
# docs/reference/exit-codes.md has those of single commands; the plugin's are in its help
EXIT_CODES = (
    ("0", "success; also when there was nothing to do"),
    ("1", "an error that you can fix; one line says how"),
    ("2", "wrong usage"),
)
CONFIG_INTRODUCTION = (
    "One YAML file configures a node. Every key may also be on the kernel command line, written "
    "with dots: hostname=node-1 k3os.modules=nbd. `k3os config check FILE` checks a file anywhere; "
    "`k3os config --dump --provenance` shows the merged configuration of a node.",
    "An error never keeps a node from booting: what is right is applied, what is wrong is "
    "reported by `k3os status`.",
)


def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Each program with each of its commands, as listed by --help."""
    found: list[tuple[str, tuple[str, ...]]] = [(K3OS, ())]
    found += [(K3OS, (name,)) for name, _ in listed(parse(ask()))]
    found.append((PLUGIN, ()))
    for name, _ in listed(parse(ask(program=PLUGIN))):
        found.append((PLUGIN, (name,)))
        inner = listed(parse(ask(name, program=PLUGIN)))
        found += [(PLUGIN, (name, word)) for word, _ in inner]
    return found


def listed(found: Help) -> list[tuple[str, str]]:
    """The commands that a help text lists, with their descriptions."""
    for block in found.blocks:
        names = [(item.name.strip(), item.text) for item in block.items]
        if block.title == "commands:":
            return [(name, text) for name, text in names if name not in INTERNAL]
        if names and names[0][0] in ("COMMAND", "ACTION"):
            return names[1:]
    return []


def pages(epoch: int) -> dict[str, str]:
    """File name -> text. Raises CommandError."""
    top, plugin = parse(ask()), parse(ask(program=PLUGIN))
    # without the place where it runs, which the list shows in brackets at the end
    about = {name: re.sub(r" \(\w+\)$", "", text) for name, text in listed(top)}
    texts = {name: ask(name) for name in about}
    others = [f"k3os-{name}(1)" for name in about]
    made = {
        "k3os.1": page(
            *("k3os", "1", "run and configure a k3OS node", top, epoch),
            see=[*others, "kubectl-k3os(1)", "k3os-config(5)"],
        )
    }
    for name, text in texts.items():
        see = ["k3os(1)", "k3os-config(5)"]
        made[f"k3os-{name}.1"] = page(f"k3os-{name}", "1", about[name], parse(text), epoch, see=see)
    parts = [
        (" ".join((PLUGIN, *words)), parse(ask(*words, program=PLUGIN)))
        for program, words in commands()
        if program == PLUGIN and words
    ]
    made["kubectl-k3os.1"] = page(
        *("kubectl-k3os", "1", "nodes and rollouts of a cluster", plugin, epoch),
        parts=parts,
        see=["k3os(1)"],
    )
    made["k3os-config.5"] = config_page(epoch)
    return made


def build_manual(epoch: int, output: Path) -> None:
    """Write <output>/manual.tar.gz. Raises CommandError."""
    (output / "manual.tar.gz").write_bytes(archive(epoch))


def archive(epoch: int) -> bytes:
    """The pages as a .tar.gz to unpack below /usr/local/share. Reproducible."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, text in sorted(pages(epoch).items()):
            data = text.encode()
            entry = tarfile.TarInfo(f"man/man{name.rpartition('.')[2]}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), epoch, 0o644
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def page(
    name: str,
    section: str,
    what: str,
    found: Help,
    epoch: int,
    *,
    see: list[str],
    parts: list[tuple[str, Help]] | None = None,
) -> str:
    """One page. parts: more commands described on it."""
    lines = [*_title(name, section, what, epoch), ".SH SYNOPSIS", *_verbatim(found.usage)]
    lines += _body(found.blocks, "DESCRIPTION")
    for title, part in parts or []:
        lines += [f".SH {_quoted(title.upper())}", *_verbatim(part.usage)]
        lines += _body(part.blocks, "")
    if not parts:
        lines.append(".SH EXIT STATUS")
        for code, text in EXIT_CODES:
            lines += [".TP", f".B {code}", _text(text)]
    return "\n".join([*lines, *_see_also(see), ""])


def config_page(epoch: int) -> str:
    """k3os-config(5): every key of the schema."""
    what = "the configuration of a k3OS node, config.yaml"
    lines = [*_title("k3os-config", "5", what, epoch), ".SH DESCRIPTION"]
    for text in CONFIG_INTRODUCTION:
        lines += [".PP", _text(text)]
    lines.append(".SH KEYS")
    for key in TABLE:
        lines += _key(key)
    lines.append(".SH FILES")
    for path, text in FILES:
        lines += [".TP", f".B {_quoted(path)}", _text(text)]
    return "\n".join([*lines, *_see_also(["k3os(1)", "k3os-config(1)"]), ""])


def _key(key: Key) -> Iterator[str]:
    yield from (".TP", f".BR {_quoted(key.path)} {_quoted(f' ({kind_of(key)})')}")
    example = f", e.g. `{key.example}`" if key.example else ""
    yield _text(f"{key.description}{example}.")
    merge = MERGE_WORDS[key.merge].format(key.identity)
    phases = f"Phases: {', '.join(key.phases)}. " if key.phases else ""
    yield from (".br", _text(f"{phases}Several sources: {merge}."))
    if key.fields:
        yield ".RS"
        for field in key.fields:
            required = ", required" if field.required else ""
            values = ", ".join(f"`{value}`" for value in field.values if value)
            listed = f": {values}" if values else ""
            yield from (".TP", f".BR {_quoted(field.name)} {_quoted(f' ({kind_of(field)})')}")
            yield _text(f"{field.description}{listed}{required}.")
        yield ".RE"


def _title(name: str, section: str, what: str, epoch: int) -> list[str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    head = " ".join(map(_quoted, (name.upper(), section, day, f"k3OS {__version__}", "k3OS")))
    return [f".TH {head}", ".SH NAME", f"{_text(name)} \\- {_text(what)}"]


def _body(blocks: tuple[Block, ...], heading: str) -> Iterator[str]:
    for block in blocks:
        if heading:
            yield f".SH {heading}"
            heading = ""
        if block.kind == "list":
            named = block.title or ("options" if block.items[0].name.startswith("-") else "")
            if named:
                yield f".SH {_quoted(named.rstrip(':').upper())}"
            yield from _items(block.items)
        elif block.kind == "text":
            yield from (".PP", *map(_text, block.lines))
        else:
            yield from (".PP", ".EX", *map(_escaped, block.lines), ".EE")


def _items(items: tuple[Item, ...]) -> Iterator[str]:
    for item in items:
        yield from (".TP", f".B {_quoted(item.name.strip())}")
        yield _text(item.text) if item.text else "\\&"


def _verbatim(lines: tuple[str, ...]) -> list[str]:
    return [".EX", *map(_escaped, lines), ".EE"]


def _see_also(names: list[str]) -> list[str]:
    references = []
    for each in names:
        name, _, section = each.rstrip(")").partition("(")
        references.append(f".BR {name} ({section})")
    return [".SH SEE ALSO", *(f"{each} ," for each in references[:-1]), references[-1]]


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _escaped(text))


def _escaped(text: str) -> str:
    """A line of text, escaped for troff (groff_char(7))."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _quoted(text: str) -> str:
    """One argument for a macro (groff(7))."""
    return '"' + _escaped(text).replace('"', "\\(dq") + '"'
