"""The properties of a key of config.yaml: its kind, when it is applied, how two sources merge, what
a change costs. The keys themselves are in schema.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Value

INITRD, BOOT, RUNTIME = PHASES = ("initrd", "boot", "runtime")
# After the phases, once k3s is up. For people it is part of the runtime phase, which triggers it,
# so it has no column of its own in the reference.
READY = "ready"
ALWAYS = PHASES
LATE = (BOOT, RUNTIME)
NEVER: tuple[str, ...] = ()

# merge rules
REPLACE = "replace"  # use the stronger source's value
ADD = "add"  # append to a list, without duplicates
ADD_BY = "add by"  # append to a list of maps; same identity: the stronger entry, in the same place
KEYS = "by key"  # add to a map; for the same key, the stronger value

# kinds that are maps with names chosen by the user, each with a map of the key's fields
BY_NAME = ("networks", "mirrors", "registry configs")

# what a change requires on a running node: nothing, a restart of k3s, a reboot
NOW, RESTART, AT_BOOT = "now", "k3s", "reboot"

MERGE_WORDS = {
    REPLACE: "the stronger source replaces",
    ADD: "lists add up",
    ADD_BY: "lists add up; same `{}`: the stronger wins",
    KEYS: "maps merge by key",
}


class Key:
    """One key. kind: see KINDS in kinds.py; fields: of the maps in it; identity: for ADD_BY;
    limits: of a number; further: a function of further.py, for checks beyond those of the kind;
    effect: when a change takes effect, NOW if the runtime phase applies it."""

    __slots__ = (
        "aliases",
        "description",
        "effect",
        "example",
        "fields",
        "further",
        "identity",
        "kind",
        "limits",
        "merge",
        "path",
        "phases",
        "required",
        "secret",
        "values",
    )

    def __init__(
        self,
        path: str,
        kind: str,
        description: str,
        *,
        merge: str = REPLACE,
        phases: tuple[str, ...] = NEVER,
        aliases: tuple[str, ...] = (),
        fields: tuple[Key, ...] = (),
        identity: str = "",
        secret: bool = False,
        required: bool = False,
        values: tuple[str, ...] = (),
        limits: tuple[int, int] = (0, 0),
        further: str = "",
        effect: str = "",
        example: str = "",
    ) -> None:
        self.path = path
        self.kind = kind
        self.description = description
        self.merge = merge
        self.phases = phases
        self.aliases = aliases
        self.fields = fields
        self.identity = identity
        self.secret = secret
        self.required = required
        self.values = values
        self.limits = limits
        self.further = further
        self.effect = effect or (AT_BOOT if phases and RUNTIME not in phases else NOW)
        self.example = example

    def identity_of(self, entry: dict[str, Value]) -> str:
        """What two entries of ADD_BY must share for the stronger to replace the weaker. Contents
        to be appended replace nothing."""
        same = str(entry[self.identity].data)
        added = "append" in entry and entry["append"].data
        return f"{same}\0{entry['content'].data}" if added and "content" in entry else same

    @property
    def name(self) -> str:
        """The last part of the path: the name within its map."""
        return self.path.rpartition(".")[2]
