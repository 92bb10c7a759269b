"""What is on a disk or medium: its layout, manifests, generations, and which of them boots."""
