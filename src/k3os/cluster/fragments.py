"""Merges fragments of configuration: a NodePool's `config` and its overrides for a node.

They merge like the files of a node's configuration (config/merge.py), later ones over earlier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from k3os.cluster.impact import check
from k3os.config.dump import as_tree
from k3os.config.k3s_files import ARGUMENTS, argued
from k3os.config.load import Config
from k3os.config.merge import merge
from k3os.config.value import Problem, Value
from k3os.errors import visible


def merged(fragments: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Mapping[str, Any], str]:
    """fragments: pairs of name and content. Also returns what is wrong, "" for nothing."""
    values: dict[str, Value] = {}
    wrong: list[str] = []
    for name, fragment in fragments:
        found, problems = check(dict(fragment), name)
        wrong += [f"{name}: {told(each)}" for each in problems if each.is_error]
        values = merge(values, found)
    if wrong or len(fragments) == 1:
        return fragments[0][1], "; ".join(wrong)
    tree = as_tree(Config(values), show_secrets=True)
    # each may be valid by itself, yet contradict another
    return tree, "; ".join(told(each) for each in check(tree)[1] if each.is_error)


def labels_given(config: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The labels that a node has because of its configuration, and those that stay on it: k3s
    never removes labels set by its arguments."""
    values = check(dict(config))[0]
    given = [pair for _, flag, pair in argued(values.get(ARGUMENTS)) if flag == "node-label"]
    stay = dict(pair.split("=", 1) for pair in given if "=" in pair)
    return Config(values).mapping("k3os.labels"), stay


def same_where_shown(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations look the same in commands and messages. They do not if a secret
    replaces its mark in such a way that part of it is no longer hidden: an argument of k3s with a
    blank in it, a login with a slash."""
    shown, wanted = (as_tree(Config(check(dict(each))[0])) for each in (one, other))
    return shown == wanted


def told(problem: Problem) -> str:
    """Without a line number: the text was only made for the check."""
    key = f"{problem.key}: " if problem.key else ""
    hint = f"; {problem.hint}" if problem.hint else ""
    return visible(f"{key}{problem.message}{hint}")
