"""The operator as a Helm chart, for clusters whose nodes do not have its image.

Pure: the templates are the objects of manifests.py as YAML, with some fields of the operator's pod
replaced by values. With the default values the result is the same as kustomize.py's; tests compare
the two.
Formats: helm.sh, "Charts" and "Template Functions and Pipelines"; versions: semver.org 2.0.0;
values.schema.json: json-schema.org.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from k3os.operator.kustomize import OPERATOR_FILE, files
from k3os.operator.manifests import NAME, PULL, REPOSITORY, Build, tag, yaml_of

DESCRIPTION = "Brings k3OS nodes to the versions and the configuration that NodePools name"
# placeholder for a value until the YAML is written
MARK = "@@{}@@"
MARKED = re.compile(r"^( *)(\w+): '@@(\w+)@@'$", re.MULTILINE)
IMAGE = (
    "{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:"
    "{{ .Values.image.tag }}{{ end }}"
)
# value of the chart -> its form in the template: a text, a map or list, one that may be empty
TEXT = '{indent}{field}: "{value}"'
WHOLE = "{indent}{field}:\n{indent}  {{{{- toYaml .Values.{name} | nindent {deeper} }}}}"
IF_ANY = (
    "{indent}{{{{- with .Values.{name} }}}}\n"
    "{indent}{field}:\n{indent}  {{{{- toYaml . | nindent {deeper} }}}}\n"
    "{indent}{{{{- end }}}}"
)
FORMS = {
    "image": TEXT.replace("{value}", IMAGE.replace("{", "{{").replace("}", "}}")),
    "imagePullPolicy": TEXT.replace("{value}", "{{{{ .Values.image.pullPolicy }}}}"),
    "imagePullSecrets": IF_ANY,
    "resources": WHOLE,
    "nodeSelector": WHOLE,
    "tolerations": WHOLE,
}
OF_CONTAINER = ("image", "imagePullPolicy", "resources")
OF_POD = ("imagePullSecrets", "nodeSelector", "tolerations")


def chart(build: Build, digest: str) -> dict[str, str]:
    """Path to text. build: of kustomize.build_for. digest: of the image's manifest; it stays the
    same in a registry if the image is pushed unchanged."""
    pod = _pod(files(build))
    given = {
        "image": {
            "repository": REPOSITORY,
            "tag": tag(build.version),
            "digest": "",
            "pullPolicy": PULL,
        },
        "imagePullSecrets": [],
        "resources": pod["containers"][0]["resources"],
        "nodeSelector": pod["nodeSelector"],
        "tolerations": pod["tolerations"],
    }
    return {
        f"{NAME}/{name}": text
        for name, text in {
            "Chart.yaml": yaml_of([_head(build.version)]),
            "values.yaml": _commented(given, build, digest),
            "values.schema.json": json.dumps(_schema(), indent=2) + "\n",
            **{f"templates/{name}": text for name, text in templates(build).items()},
        }.items()
    }


def templates(build: Build) -> dict[str, str]:
    """File name to text."""
    objects = files(build)
    pod = _pod(objects)
    pod |= {name: MARK.format(name) for name in OF_POD}
    pod["containers"][0] |= {name: MARK.format(name) for name in OF_CONTAINER}
    return {name: MARKED.sub(_form, escaped(yaml_of(each))) for name, each in objects.items()}


def escaped(text: str) -> str:
    """A text that Helm leaves unchanged."""
    return text.replace("{{", '{{ "{{" }}')


def version_of(version: str) -> str:
    """In the form that a chart's version must have."""
    return version.removeprefix("v").replace("~", "-")


def _pod(objects: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    (found,) = (each for each in objects[OPERATOR_FILE] if each["kind"] == "Deployment")
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def _form(found: re.Match[str]) -> str:
    indent, field, name = found.groups()
    return FORMS[name].format(indent=indent, field=field, name=name, deeper=len(indent) + 2)


def _head(version: str) -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": NAME,
        "description": DESCRIPTION,
        "type": "application",
        "version": version_of(version),
        "appVersion": version,
    }


def _commented(given: Mapping[str, Any], build: Build, digest: str) -> str:
    """values.yaml, with each comment above the line it describes."""
    comments = {
        "image:": [
            f"Where k3os-operator-{build.arch}.tar.zst was pushed to. As it is here, the image is",
            "called where the archive was imported on each node.",
        ],
        "  digest:": [
            "Counts instead of the tag: what a tag means can change. That of this release is",
            digest,
        ],
        "imagePullSecrets:": [
            "Secrets in the namespace k3os-system, for the pods on nodes, too: [{name: NAME}]"
        ],
        "nodeSelector:": ["Without the architecture if the image has more than this one."],
    }
    lines = [f"# The operator of k3OS {build.version}: docs/how-to/operator.md"]
    for line in yaml_of([given]).splitlines():
        for start, comment in comments.items():
            if line.startswith(start):
                indent = line[: len(line) - len(line.lstrip())]
                lines += [f"{indent}# {each}" for each in comment]
        lines.append(line)
    return "\n".join([*lines, ""])


def _schema() -> dict[str, Any]:
    """So that Helm refuses a misspelled value instead of ignoring it."""
    text, anything = {"type": "string"}, {"type": "object"}
    image = {
        "repository": {**text, "minLength": 1},
        "tag": text,
        "digest": {**text, "pattern": "^(sha256:[0-9a-f]{64})?$"},
        "pullPolicy": {"enum": ["IfNotPresent", "Always"]},
    }
    names = {"type": "object", "required": ["name"], "properties": {"name": text}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "image": {"type": "object", "additionalProperties": False, "properties": image},
            "imagePullSecrets": {"type": "array", "items": names},
            "resources": anything,
            "nodeSelector": anything,
            "tolerations": {"type": "array", "items": anything},
            # Helm adds it if this is a subchart
            "global": anything,
        },
    }
