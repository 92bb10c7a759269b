"""The names that nodes and the operator share: the API group, labels, annotations, conditions.

It holds names only, and imports nothing. Kubernetes' rules for them: kubernetes.io, "Labels and
Selectors" and "Annotations".
"""

GROUP, VERSION, KIND = "k3os.io", "v1alpha1", "NodePool"
PLURAL, SHORT = "nodepools", "np"
NAMESPACE = "k3os-system"
OPERATOR = "k3os-operator"
# the user that runs the operator's image
OPERATOR_UID = 65532

# set by `k3os report` on its own node
CONDITION = "K3OSHealthy"
MODE_LABEL = f"{GROUP}/mode"
OPERATOR_LABEL = f"{GROUP}/operator"
VERSION_LABEL = f"{GROUP}/version"
K3OS = f"{GROUP}/k3os"
KERNEL = f"{GROUP}/kernel"
K3S = f"{GROUP}/k3s"
CONFIG_HASH = f"{GROUP}/config-hash"
BOOT_ID = f"{GROUP}/boot-id"
LAST_RESULT = f"{GROUP}/last-result"
TRIAL = f"{GROUP}/trial"
# the system extensions that are active, as "nfs=2.6.4,agent=1"
EXTENSIONS = f"{GROUP}/extensions"
# the operator's image, as this node's k3s has it
IMAGE = f"{GROUP}/image"

# the operator's record of a node while it changes it
ROLLOUT = f"{GROUP}/rollout"
# the same for the workloads that had Ready pods on it
WORKLOADS = f"{GROUP}/workloads"
# a `kubectl k3os` command is working on the node: no rollout starts on it meanwhile
BY_HAND = f"{GROUP}/by-hand"
# how a drain treats a pod, set on the pod itself
DRAIN = f"{GROUP}/drain"

# on a NodePool: when somebody asked to retry a canary's failed gates
RETRIED = f"{GROUP}/retried-at"

# states of a request in LAST_RESULT
SUCCEEDED, FAILED, ROLLED_BACK, REBOOTING = "Succeeded", "Failed", "RolledBack", "Rebooting"
