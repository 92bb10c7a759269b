"""What a key of config.yaml is: its kind, when it is applied, how two sources merge, what a change
costs. The keys themselves are in schema.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Value

INITRD, BOOT, RUNTIME = PHASES = ("initrd", "boot", "runtime")
# What comes after the phases, when k3s has answered. To people it belongs to the runtime phase,
# which sees to it that it happens; so it has no column in the reference.
READY = "ready"
ALWAYS = PHASES
LATE = (BOOT, RUNTIME)
NEVER: tuple[str, ...] = ()

# merge rules, from the weakest source to the strongest
REPLACE = "replace"  # the stronger source's value
ADD = "add"  # a list grows; what is there already is not added again
ADD_BY = "add by"  # a list of maps grows; the same identity: the stronger entry, in its place
KEYS = "by key"  # a map grows; the same key: the stronger value

# kinds of keys that are maps with the user's names, and a map with the key's fields under each
BY_NAME = ("networks", "mirrors", "registry configs")

# what a change asks of a node that runs: nothing, a new start of k3s, a boot
NOW, RESTART, AT_BOOT = "now", "k3s", "reboot"

MERGE_WORDS = {
    REPLACE: "the stronger source replaces",
    ADD: "lists add up",
    ADD_BY: "lists add up; same `{}`: the stronger wins",
    KEYS: "maps merge by key",
}


class Key:
    """One key. kind: see KINDS in kinds.py; fields: of the maps in it; identity: of ADD_BY;
    limits: of a number; further: a function of further.py, for what the kind does not know;
    effect: when a change counts, NOW where the runtime phase applies it."""

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
        """What two entries of ADD_BY have in common when the stronger replaces the weaker. Contents
        that are appended replace nothing."""
        same = str(entry[self.identity].data)
        added = "append" in entry and entry["append"].data
        return f"{same}\0{entry['content'].data}" if added and "content" in entry else same

    @property
    def name(self) -> str:
        """The last part of the path: the key as it stands in its map."""
        return self.path.rpartition(".")[2]
