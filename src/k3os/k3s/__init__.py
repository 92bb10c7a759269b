"""k3s, the component: where it comes from and how it is verified. k3s itself is not our code."""
