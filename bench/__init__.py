"""The bench: k3OS against what people use instead, Debian + cloud-init, in the same QEMU.

`python -m bench --help`. Workstation code; nothing of it goes into an image.
"""
