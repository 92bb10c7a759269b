"""QEMU: a virtual machine that is started, watched on its serial port, and always stopped."""
