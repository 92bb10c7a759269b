"""k3os.kubelet: fields of KubeletConfiguration (kubernetes.io, "Kubelet Configuration (v1beta1)").

A kubelet exits for an unknown field or a value of the wrong type, and k3s with it; so both are
checked here. Fields newer than this table can be set in a file of write_files.
"""

from __future__ import annotations

from k3os.config import kubelet_values, scalars
from k3os.config.kinds import text_map, texts
from k3os.config.scalars import KIND_WORDS, one_line
from k3os.config.spelling import nearest
from k3os.config.value import Value, Wrong
from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Node

KEY = "k3os.kubelet"
# for drop-ins, below k3s' data
DIRECTORY = "agent/etc/kubelet.conf.d"
BOOLEAN, NUMBER, FRACTION, TEXT, DURATION = "boolean", "number", "fraction", "text", "duration"
LIST, MAP, SWITCHES = "list", "map", "switches"
_TYPES = {
    BOOLEAN: """
        enableServer enableDebuggingHandlers enableContentionProfiling rotateCertificates
        serverTLSBootstrap cgroupsPerQOS singleProcessOOMKill cpuCFSQuota serializeImagePulls
        mergeDefaultEvictionSettings enableControllerAttachDetach makeIPTablesUtilChains failSwapOn
        kernelMemcgNotification enableSystemLogHandler enableSystemLogQuery enableProfilingHandler
        enableDebugFlagsHandler seccompDefault registerNode localStorageCapacityIsolation
        failCgroupV1""",
    NUMBER: """
        readOnlyPort registryPullQPS registryBurst eventRecordQPS eventBurst healthzPort oomScoreAdj
        nodeLeaseDurationSeconds imageGCHighThresholdPercent imageGCLowThresholdPercent maxPods
        podPidsLimit nodeStatusMaxImages maxOpenFiles kubeAPIQPS kubeAPIBurst maxParallelImagePulls
        evictionMaxPodGracePeriod podsPerCore containerLogMaxFiles containerLogMaxWorkers
        userNamespaces.idsPerPod""",
    FRACTION: "memoryThrottlingFactor",
    TEXT: """
        podLogsDir tlsMinVersion imagePullCredentialsVerificationPolicy kubeletCgroups systemCgroups
        cgroupRoot cpuManagerPolicy memoryManagerPolicy topologyManagerPolicy topologyManagerScope
        hairpinMode contentType containerLogMaxSize configMapAndSecretChangeDetectionStrategy
        reservedSystemCPUs showHiddenMetricsForVersion systemReservedCgroup kubeReservedCgroup
        providerID memoryReservationPolicy memorySwap.swapBehavior""",
    DURATION: """
        syncFrequency fileCheckFrequency httpCheckFrequency streamingConnectionIdleTimeout
        nodeStatusUpdateFrequency nodeStatusReportFrequency imageMinimumGCAge imageMaximumGCAge
        volumeStatsAggPeriod cpuManagerReconcilePeriod runtimeRequestTimeout cpuCFSQuotaPeriod
        evictionPressureTransitionPeriod containerLogMonitorInterval
        crashLoopBackOff.maxContainerRestartPeriod""",
    LIST: """
        tlsCipherSuites preloadedImagesVerificationAllowlist enforceNodeAllocatable
        allowedUnsafeSysctls""",
    MAP: """
        cpuManagerPolicyOptions topologyManagerPolicyOptions qosReserved evictionHard evictionSoft
        evictionSoftGracePeriod evictionMinimumReclaim systemReserved kubeReserved""",
    SWITCHES: "featureGates",
}
TYPES = {name: kind for kind, names in _TYPES.items() for name in names.split()}
# set by k3s or by another key of ours -> what to write instead
DECIDED = {
    name: hint
    for names, hint in (
        (
            "shutdownGracePeriod shutdownGracePeriodCriticalPods shutdownGracePeriodByPodPriority",
            "write k3os.shutdown",
        ),
        ("registerWithTaints", "write k3os.taints"),
        ("protectKernelDefaults", "write `k3os.hardening: cis`, or --protect-kernel-defaults"),
        ("clusterDNS", "write `--cluster-dns=…` in k3os.k3s_args"),
        ("clusterDomain", "write `--cluster-domain=…` in k3os.k3s_args"),
        ("resolvConf", "write `--resolv-conf=…` in k3os.k3s_args"),
        (
            "containerRuntimeEndpoint imageServiceEndpoint",
            "write `--container-runtime-endpoint=…` in k3os.k3s_args",
        ),
        (
            "address port staticPodPath staticPodURL authentication authorization cgroupDriver "
            "tlsCertFile tlsPrivateKeyFile podCIDR volumePluginDir healthzBindAddress apiVersion "
            "kind",
            "leave it out",
        ),
    )
    for name in names.split()
}


def kubelet(check: Check, key: Key, node: Node, path: str) -> Value:
    if node.kind != "map":
        hint = "write fields, e.g. `maxPods: 200`"
        raise Wrong(node.place, f"must be a map, not {KIND_WORDS[node.kind]}", hint)
    found: dict[str, Value] = {}
    for name, item, place in _fields(check, node, path, ""):
        try:
            _refuse(name, place)
            value = _value(check, key, name, item, f"{path}.{name}")
            if name in found:
                first = found[name].place.as_first()
                check.warn(place.place, f"{path}.{name}", f"is given twice{first}", "remove one")
            found[name] = value
        except Wrong as wrong:
            check.error(f"{path}.{name}", wrong)
    return Value(found, node.place)


def _fields(check: Check, node: Node, path: str, prefix: str) -> Iterator[tuple[str, Node, Node]]:
    """Name (with dots), value and place of each field."""
    sections = {name.partition(".")[0] for name in TYPES if "." in name}
    for name, item in node.pairs:
        whole = f"{prefix}{name.text}"
        if item.is_unset():
            continue
        if not prefix and name.text in sections and item.kind == "map":
            yield from _fields(check, item, path, f"{name.text}.")
        else:
            yield whole, item, name


def _refuse(name: str, node: Node) -> None:
    if name in DECIDED:
        raise Wrong(
            node.place, "is not for this file: k3s or another key decides it", DECIDED[name]
        )
    if name not in TYPES:
        likely = nearest(name, TYPES)
        hint = f"did you mean {likely}?" if likely else ""
        newer = f"write a newer one by write_files to /var/lib/rancher/k3s/{DIRECTORY}/NAME.conf"
        raise Wrong(node.place, "is not a field of KubeletConfiguration", hint or newer)


def _value(check: Check, key: Key, name: str, node: Node, path: str) -> Value:
    kind = TYPES[name]
    if kind == BOOLEAN:
        return scalars.boolean(check, key, node, path)
    if kind in (LIST, MAP, SWITCHES):
        read = texts if kind == LIST else text_map
        value = read(check, key, node, path)
        if kind == SWITCHES:
            _check_switches(value)
        kubelet_values.check(name, value)
        return value
    word = one_line(node, f"a {kind}").strip()
    if kind == NUMBER and not are_digits(word.removeprefix("-")):
        raise Wrong(node.place, f"must be a number, not `{word}`")
    if kind == FRACTION and not _is_fraction(word):
        raise Wrong(node.place, f"must be a number between 0 and 1, not `{word}`")
    if kind == DURATION and kubelet_values.seconds(word) is None:
        raise Wrong(node.place, f"must be a duration, not `{word}`", "write e.g. `90s` or `1h30m`")
    value = Value(word, node.place)
    if kind == NUMBER:
        kubelet_values.check_number(name, word, value)
    kubelet_values.check(name, value)
    return value


def _check_switches(value: Value) -> None:
    assert isinstance(value.data, dict)
    for name, item in value.data.items():
        if str(item.data).lower() not in ("true", "false"):
            raise Wrong(item.place, f"{name} must be true or false, not `{item.data}`")


def _is_fraction(word: str) -> bool:
    whole, _, part = word.partition(".")
    return are_digits(whole) and (not part or are_digits(part)) and 0 < float(word) <= 1


def as_object(fields: dict[str, Value]) -> dict[str, Any]:
    """The fields with their types, for JSON."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        section, dot, inner = name.partition(".")
        place = found.setdefault(section, {}) if dot else found
        place[inner if dot else name] = _typed(TYPES[name], value)
    return found


def _typed(kind: str, value: Value) -> Any:
    from k3os.config.value import plain

    data = plain(value)
    if kind == NUMBER:
        return int(str(data))
    if kind == FRACTION:
        return float(str(data))
    if kind == SWITCHES and isinstance(data, dict):
        return {name: str(each).lower() == "true" for name, each in data.items()}
    return data
