"""The bench: k3OS compared with the usual alternative, Debian + cloud-init, in the same QEMU.

`python -m bench --help`. Workstation code; none of it goes into an image.
"""
