"""k3os.hardening: cis: what k3s' hardening guide requires of k3s (docs.k3s.io/security/
hardening-guide), in files beside the others that k3s reads. k3OS itself meets what it requires of
the host.

We append to every list, so that arguments of the configuration stay in effect, and win. Secrets are
encrypted only in a cluster that has done so from the start: k3s before 1.35 does not start
otherwise. The setting stays when the profile is removed, since k3s could not read any secret
without it.

Formats: apiserver.config.k8s.io/v1, audit.k8s.io/v1, eventratelimit.admission.k8s.io/v1alpha1
(kubernetes.io, "API server configuration").
"""

from __future__ import annotations

from k3os.config.hardening import KEY, other_sysctls
from k3os.config.k3s_flags import FILE
from k3os.config.value import Place
from k3os.paths import STATE
from k3os.phases.actions import Action, Later, MakeDirectory, Remove, WriteFile
from k3os.phases.k3s import arguments as arguments_of
from k3os.phases.k3s import data_directory, to_yaml
from k3os.phases.shutdown import k3s_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

SETTINGS = f"{FILE}.d/40-k3os-cis.yaml"
# below k3s' data directory
ADMISSION, AUDIT = "server/k3os-admission.yaml", "server/k3os-audit.yaml"
LOGS = "server/logs"
ENCRYPTED, BEGAN = "server/cred/encryption-config.json", "server/tls"
# the marker that we have turned it on
MARK = f"{STATE}/secrets-encryption"
# the first k3s whose Pod Security admission reads this format; that can let tokens expire
ADMITS, ENDS_TOKENS = (1, 23), (1, 29)
CIPHERS = (
    *("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    *("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"),
)
AUDIT_POLICY = """\
# written by k3os from k3os.hardening
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - level: Metadata
"""
RATES = """\
# written by k3os from k3os.hardening
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: EventRateLimit
    configuration:
      apiVersion: eventratelimit.admission.k8s.io/v1alpha1
      kind: Configuration
      limits:
        - type: Server
          qps: 5000
          burst: 20000
"""
# for namespaces without labels of their own, which k3os-system has
PODS = """\
  - name: PodSecurity
    configuration:
      apiVersion: pod-security.admission.config.k8s.io/v1beta1
      kind: PodSecurityConfiguration
      defaults:
        enforce: restricted
        enforce-version: latest
        audit: restricted
        audit-version: latest
        warn: restricted
        warn-version: latest
      exemptions:
        usernames: []
        runtimeClasses: []
        namespaces: [kube-system]
"""


def plan(config: Config, node: Node) -> list[Action]:
    data, server = data_directory(config), arguments_of(config)[0] == "server"
    value = config.get(KEY)
    if value is None:
        return _without(node, data, server)
    place = value.place
    actions: list[Action] = []
    settings: dict[str, str | list[str]] = {}
    if others := other_sysctls(config.values):
        why = f"{', '.join(others)} of k3os.sysctls is not what it needs"
        actions.append(Later(KEY, place, "have the kubelet insist on its kernel settings", why))
    else:
        settings["protect-kernel-defaults"] = "true"
    settings["kubelet-arg+"] = [
        "streaming-connection-idle-timeout=5m",
        f"tls-cipher-suites={','.join(CIPHERS)}",
    ]
    if server:
        actions += _server(node, place, data, settings)
    else:
        actions += _removals(place, data)
    text = to_yaml(settings).encode(errors="surrogateescape")
    return [*actions, WriteFile(KEY, place, SETTINGS, text)]


def _server(
    node: Node, place: Place, data: str, settings: dict[str, str | list[str]]
) -> list[Action]:
    """Adds a server's settings, and creates the files that they refer to."""
    version = k3s_version(node)
    admission = RATES
    actions: list[Action] = []
    if version is None or version >= ADMITS:
        admission += PODS
    else:
        why = "this k3s is older than 1.23: see PodSecurityPolicy in its hardening guide"
        actions.append(Later(KEY, place, "restrict pods", why))
    arguments = [
        "enable-admission-plugins=NodeRestriction,EventRateLimit",
        f"admission-control-config-file={data}/{ADMISSION}",
        f"audit-policy-file={data}/{AUDIT}",
        f"audit-log-path={data}/{LOGS}/audit.log",
        "audit-log-maxage=30",
        "audit-log-maxbackup=10",
        "audit-log-maxsize=100",
    ]
    if version is None or version >= ENDS_TOKENS:
        arguments.append("service-account-extend-token-expiration=false")
    settings["kube-apiserver-arg+"] = arguments
    settings["kube-controller-manager-arg+"] = ["terminated-pod-gc-threshold=10"]
    if node.exists(f"{data}/{ENCRYPTED}") or not node.exists(f"{data}/{BEGAN}"):
        settings["secrets-encryption"] = "true"
        actions.append(WriteFile(KEY, place, MARK, b""))
    else:
        why = "the cluster began without; `k3s secrets-encrypt` of k3s 1.35 and newer can change it"
        actions.append(Later(KEY, place, "encrypt secrets", why))
    # k3s keeps its secrets there; directories that we create first are for root only
    missing = [path for path in (f"{data}/server", f"{data}/{LOGS}") if not node.exists(path)]
    actions += [MakeDirectory(KEY, place, path, 0o700) for path in missing]
    actions.append(WriteFile(KEY, place, f"{data}/{ADMISSION}", admission.encode(), 0o600))
    actions.append(WriteFile(KEY, place, f"{data}/{AUDIT}", AUDIT_POLICY.encode(), 0o600))
    return actions


def _without(node: Node, data: str, server: bool) -> list[Action]:
    place = Place("default")
    actions = [each for each in _removals(place, data) if node.exists(each.path)]
    if server and node.exists(MARK) and node.exists(f"{data}/{ENCRYPTED}"):
        text = to_yaml({"secrets-encryption": "true"}).encode()
        return [*actions, WriteFile(KEY, place, SETTINGS, text)]
    return [*actions, Remove(KEY, place, SETTINGS)] if node.exists(SETTINGS) else [*actions]


def _removals(place: Place, data: str) -> list[Remove]:
    return [Remove(KEY, place, f"{data}/{name}") for name in (ADMISSION, AUDIT)]
