"""Values that make a kubelet exit although their types are right (Kubernetes,
pkg/kubelet/apis/config/validation and pkg/kubelet/eviction/helpers.go), and k3s with it.

`check` looks at single values; `fitting` at combinations, so it needs the fields of all sources.
"""

from __future__ import annotations

import re

from k3os.config.spelling import nearest
from k3os.config.value import Value, Wrong

LEAST, MOST, MOST_64 = -(1 << 31), (1 << 31) - 1, (1 << 63) - 1
LIMITS = {
    name: limits
    for names, limits in (
        ("imageGCHighThresholdPercent imageGCLowThresholdPercent", (0, 100)),
        ("healthzPort readOnlyPort", (0, 65535)),
        ("oomScoreAdj", (-1000, 1000)),
        ("nodeLeaseDurationSeconds maxParallelImagePulls containerLogMaxWorkers", (1, MOST)),
        ("containerLogMaxFiles", (2, MOST)),
        (
            "eventBurst eventRecordQPS kubeAPIBurst kubeAPIQPS maxPods podsPerCore registryBurst "
            "registryPullQPS",
            (0, MOST),
        ),
        ("nodeStatusMaxImages", (-1, MOST)),
        ("maxOpenFiles userNamespaces.idsPerPod", (0, MOST_64)),
        ("podPidsLimit", (-1, MOST_64)),
    )
    for name in names.split()
}
CHOICES = {
    "topologyManagerPolicy": ("none", "best-effort", "restricted", "single-numa-node"),
    "topologyManagerScope": ("container", "pod"),
    "cpuManagerPolicy": ("none", "static"),
    "memoryManagerPolicy": ("None", "Static"),
    "hairpinMode": ("promiscuous-bridge", "hairpin-veth", "none"),
    "configMapAndSecretChangeDetectionStrategy": ("Get", "Cache", "Watch"),
    "tlsMinVersion": ("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"),
    "memorySwap.swapBehavior": ("LimitedSwap", "NoSwap"),
}
ENFORCED = "enforceNodeAllocatable"
ENFORCEMENTS = (
    *("none", "pods", "system-reserved", "kube-reserved"),
    *("system-reserved-compressible", "kube-reserved-compressible"),
)
SIGNALS = (
    *("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"),
    *("imagefs.inodesFree", "containerfs.available", "containerfs.inodesFree", "pid.available"),
    "allocatableMemory.available",
)
RESOURCES = ("cpu", "memory", "ephemeral-storage", "pid")
GRACE = "evictionSoftGracePeriod"
EVICTIONS = ("evictionHard", "evictionSoft", "evictionMinimumReclaim", GRACE)
RESERVED = ("kubeReserved", "systemReserved")
QUANTITY = r"[+]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
HIGH, LOW = "imageGCHighThresholdPercent", "imageGCLowThresholdPercent"
OLDEST, YOUNGEST = "imageMaximumGCAge", "imageMinimumGCAge"
# the kubelet's defaults
DEFAULTS = {HIGH: "85", LOW: "80", YOUNGEST: "2m"}


def check(name: str, value: Value) -> None:
    """Raises Wrong. value: has the field's type."""
    data = value.data
    if isinstance(data, dict):
        for inner, item in data.items():
            _check_pair(name, inner, item)
        return
    for item in data if isinstance(data, list) and name == ENFORCED else []:
        if item.data not in ENFORCEMENTS:
            known = ", ".join(ENFORCEMENTS)
            raise Wrong(item.place, f"`{item.data}` is unknown", f"known: {known}")
    if name in CHOICES and data not in CHOICES[name]:
        known = ", ".join(CHOICES[name])
        raise Wrong(value.place, f"`{data}` is unknown", f"known: {known}")


def check_number(name: str, word: str, value: Value) -> None:
    """Raises Wrong. word: digits, maybe with a sign."""
    least, most = LIMITS.get(name, (LEAST, MOST))
    if len(word) > len(str(MOST_64)) + 1 or not least <= int(word) <= most:
        raise Wrong(value.place, f"{word} is out of range", f"write {least} to {most}")


def _check_pair(name: str, inner: str, item: Value) -> None:
    word = str(item.data)
    known, what = (SIGNALS, "signal") if name in EVICTIONS else (RESOURCES, "resource")
    if name not in (*EVICTIONS, *RESERVED):
        return
    if inner not in known:
        likely = nearest(inner, known)
        hint = f"did you mean {likely}?" if likely else f"known: {', '.join(known)}"
        raise Wrong(item.place, f"{inner} is not a {what}", hint)
    if name == GRACE:
        if seconds(word) is None:
            raise Wrong(item.place, f"{inner} must be a duration, not `{word}`", "write e.g. `90s`")
        return
    percent = name in EVICTIONS and _is_percentage(word)
    if not percent and not re.fullmatch(QUANTITY, word):
        wanted = "a quantity or a percentage" if name in EVICTIONS else "a quantity"
        hint = "write e.g. `300Mi`" + (" or `5%`" if name in EVICTIONS else "")
        raise Wrong(item.place, f"{inner} must be {wanted}, not `{word}`", hint)


def _is_percentage(word: str) -> bool:
    match = re.fullmatch(r"([0-9]{1,3}(\.[0-9]{1,9})?)%", word)
    return match is not None and float(match[1]) <= 100


def seconds(word: str) -> float | None:
    """The seconds of a duration in the form of Go's time.ParseDuration; 0 needs no unit."""
    number = rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(sorted(SECONDS, key=len, reverse=True))})"
    if word == "0":
        return 0.0
    if not re.fullmatch(f"({number})+", word):
        return None
    return sum(float(digits) * SECONDS[unit] for digits, unit in re.findall(number, word))


def fitting(fields: dict[str, Value]) -> tuple[dict[str, Value], list[tuple[str, str, str]]]:
    """The fields without those that conflict with others; name, reason and hint of each."""
    kept = dict(fields)
    refused: list[tuple[str, str, str]] = []

    def refuse(name: str, why: str, hint: str) -> None:
        del kept[name]
        refused.append((name, why, hint))

    soft = kept.get("evictionSoft")
    if soft is not None and isinstance(soft.data, dict):
        periods = kept[GRACE].data if GRACE in kept else {}
        missing = [
            name for name in soft.data if not isinstance(periods, dict) or name not in periods
        ]
        if missing:
            why = f"{GRACE} has no {missing[0]}"
            refuse("evictionSoft", why, f"write `{GRACE}: {{{missing[0]}: 1m30s}}`, too")

    def of(name: str) -> str:
        return str(kept[name].data) if name in kept else DEFAULTS[name]

    if int(of(LOW)) >= int(of(HIGH)):
        why = f"{LOW} ({of(LOW)}) must be less than {HIGH} ({of(HIGH)})"
        for name in (LOW, HIGH):
            if name in kept:
                refuse(name, why, f"write {LOW} and {HIGH}")
    oldest, youngest = seconds(of(OLDEST)) if OLDEST in kept else 0.0, seconds(of(YOUNGEST))
    if oldest and youngest is not None and oldest <= youngest:
        why = f"{OLDEST} ({of(OLDEST)}) must be more than {YOUNGEST} ({of(YOUNGEST)})"
        refuse(OLDEST, why, f"write a longer {OLDEST}")
    return kept, refused
