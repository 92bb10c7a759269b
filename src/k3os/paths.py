"""Paths of a running node that more than one module needs.

It holds nothing else, and imports nothing. Paths on a disk or medium, relative to its mount point,
are in k3os.generation.layout; a path that only one module uses stays in that module.
"""

# the medium that the system runs from; for an overlay, the root of the other system
BASE = "/.base"
# /k3os/system of the medium, read-only, with the initrd's configuration on top
OWN_SYSTEM = "/k3os/system"
# what k3OS keeps across reboots
STATE = "/var/lib/rancher/k3os"
LOCAL_CONFIG = f"{STATE}/config.yaml"
# the node's name in the cluster
NODE_NAME = f"{STATE}/node-name"
# the trial of a NodePool's configuration (k3os.cluster.config_trial)
FRAGMENT_TRIAL = f"{STATE}/fragment-trial.json"
# a configuration on trial by `k3os config try` (k3os.config.tried)
TRIED = f"{STATE}/config-tried.json"

# units and drop-ins of this boot (systemd.unit(5))
RUN_UNITS = "/run/systemd/system"
# the image that the system runs from; each boot fills /etc from it
ROOTFS = "/run/k3os/rootfs"
# the generation that is running, as "generations/3"
RUNNING = "/run/k3os/generation"
# system extensions: the result for each in this boot, and where they are mounted
EXTENSIONS = "/run/k3os/extensions.json"
EXTENSION_ROOTS = "/run/k3os/extensions"
# exists while this boot is on trial; contains the seconds
ON_TRIAL = "/run/k3os/trial"
# the time that the clock showed when it was wrong
CLOCK_WRONG = "/run/k3os/clock-was-wrong"
# the link to the running k3s, and its possible targets
K3S_LINK = "/run/k3os/k3s"
K3S_CURRENT = f"{OWN_SYSTEM}/current/k3s/k3s"
K3S_FETCHED = f"{STATE}/k3s/k3s"
# a link to k3s' data directory, for those that must find it without reading the configuration
K3S_DATA = "/run/k3os/data"
# AppArmor profiles, apparmor.d(5)
PROFILES = "/etc/apparmor.d/"
