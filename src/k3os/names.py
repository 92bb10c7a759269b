"""The names that nodes and the operator share: the API group, labels, annotations, conditions.

It holds names only, and imports nothing. Kubernetes' rules for them: kubernetes.io, "Labels and
Selectors" and "Annotations".
"""

GROUP, VERSION, KIND = "k3os.io", "v1alpha1", "NodePool"
PLURAL, SHORT = "nodepools", "np"
NAMESPACE = "k3os-system"
OPERATOR = "k3os-operator"
# whom the operator's image runs as
OPERATOR_UID = 65532

# what `k3os report` says of its own node
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
# the system extensions that are active, "nfs=2.6.4,agent=1"
EXTENSIONS = f"{GROUP}/extensions"
# the operator's image as the node's k3s has it
IMAGE = f"{GROUP}/image"

# what the operator remembers of a node while it changes it
ROLLOUT = f"{GROUP}/rollout"
# and of the workloads that had Ready pods on it
WORKLOADS = f"{GROUP}/workloads"
# a command of `kubectl k3os` that works on a node: no rollout begins with it meanwhile
BY_HAND = f"{GROUP}/by-hand"
# what a pod says of itself to a drain
DRAIN = f"{GROUP}/drain"

# of a NodePool: when somebody asked to have a canary's failed gates asked again
RETRIED = f"{GROUP}/retried-at"

# states of a request in LAST_RESULT
SUCCEEDED, FAILED, ROLLED_BACK, REBOOTING = "Succeeded", "Failed", "RolledBack", "Rebooting"
