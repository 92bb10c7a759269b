"""The image builder: packages in, ISO, kernel, initrd, rootfs and sums out."""
