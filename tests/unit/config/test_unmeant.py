"""Slips that give a valid value with another meaning: each is said, with what its author meant."""

import pytest

from k3os.config.advice import advice
from k3os.config.check import check_text

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIESqSmllcg5QoT7KRLnwkEjK+b6OXXcVEGqm+GR8EOwX"


def said(text: str) -> list[str]:
    values, problems = check_text(text.encode(), "c")
    return [str(each) for each in [*problems, *advice(values, "v1.33.1")]]


ARGUMENTS = {
    "a value of the list before": (
        "[server, --kube-controller-manager-arg, address=0.0.0.0, bind-address=0.0.0.0]",
        "write --kube-controller-manager-arg=bind-address=0.0.0.0",
    ),
    "a flag's name with a value": (
        "[server, --kubelet-arg, a=b, config=/etc/kubelet.yaml]",
        "write --kubelet-arg=config=/etc/kubelet.yaml",
    ),
    "another component": ("[--disable, traefik, servicelb]", "write --disable=servicelb"),
    "a flag without its dashes": ("[--disable, traefik, cluster-init]", "write --cluster-init"),
    "after a switch": ("[--cluster-init, tls-san=a]", "write --tls-san=a"),
}


@pytest.mark.parametrize("words,hint", ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_word_without_a_flag_is_given_the_one_that_was_meant(words: str, hint: str) -> None:
    assert [line.rpartition("; ")[2] for line in said(f"k3os: {{k3s_args: {words}}}")] == [hint]
