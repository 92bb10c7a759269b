"""Where the parts of a node find each other's files: paths that more than one module knows.

It holds paths of a running node only, and imports nothing. What is on a disk or medium, relative to
where that is mounted, is in k3os.generation.layout; a path that one module knows stays there.
"""

# the medium that the system runs from; on top of another system, that system's root
BASE = "/.base"
# /k3os/system of the medium, read-only, with the configuration of the initrd over it
OWN_SYSTEM = "/k3os/system"
# what k3OS keeps over a reboot
STATE = "/var/lib/rancher/k3os"
LOCAL_CONFIG = f"{STATE}/config.yaml"
# what this node calls itself in the cluster
NODE_NAME = f"{STATE}/node-name"
# the trial of a NodePool's configuration (k3os.cluster.config_trial)
FRAGMENT_TRIAL = f"{STATE}/fragment-trial.json"
# a configuration that somebody tries (k3os.config.tried)
TRIED = f"{STATE}/config-tried.json"

# units and drop-ins of this boot (systemd.unit(5))
RUN_UNITS = "/run/systemd/system"
# the image that the system runs from: what a boot fills /etc with
ROOTFS = "/run/k3os/rootfs"
# the generation that was booted, "generations/3"
RUNNING = "/run/k3os/generation"
# system extensions: what became of each in this boot, and where they are mounted
EXTENSIONS = "/run/k3os/extensions.json"
EXTENSION_ROOTS = "/run/k3os/extensions"
# while it exists this boot is on trial; in it, the seconds
ON_TRIAL = "/run/k3os/trial"
# what the clock said, where that was wrong
CLOCK_WRONG = "/run/k3os/clock-was-wrong"
# the link to the k3s that runs, and what it leads to
K3S_LINK = "/run/k3os/k3s"
K3S_CURRENT = f"{OWN_SYSTEM}/current/k3s/k3s"
K3S_FETCHED = f"{STATE}/k3s/k3s"
# a link to where k3s keeps its data, for what must find it without reading the configuration
K3S_DATA = "/run/k3os/data"
# profiles of AppArmor, apparmor.d(5)
PROFILES = "/etc/apparmor.d/"
