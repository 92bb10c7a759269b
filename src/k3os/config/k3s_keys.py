"""The keys for files that k3s itself reads; schema.TABLE includes them."""

from __future__ import annotations

from k3os.config.key import ADD, KEYS, LATE, RESTART, RUNTIME, Key

MIRROR_FIELDS = (
    Key(
        "endpoint",
        "endpoints",
        "where to look first, in this order: URLs, perhaps with a path; the registry itself comes "
        "last. With `k3os.embedded_registry`, other nodes are asked before all of them",
        aliases=("endpoints",),
    ),
    Key(
        "rewrite",
        "rewrites",
        "regular expression for an image's name → its name there",
        aliases=("rewrites",),
    ),
)

AUTH_FIELDS = (
    Key("username", "text", "who logs in", aliases=("user",)),
    Key("password", "text", "their password", secret=True, aliases=("pass",)),
    Key("auth", "text", "both in one, base64 of `username:password`", secret=True),
)

TLS_FIELDS = (
    Key("ca_file", "path", "a file with the authority's certificate (PEM)", aliases=("ca",)),
    Key("cert_file", "path", "a file with this node's certificate for it", aliases=("cert",)),
    Key("key_file", "path", "a file with the key of that certificate", aliases=("key",)),
    Key("insecure_skip_verify", "boolean", "accept any certificate (false)", aliases=("insecure",)),
)

REGISTRY_FIELDS = (
    Key("auth", "map", "how to log in", fields=AUTH_FIELDS),
    Key("tls", "map", "certificates for it", fields=TLS_FIELDS),
)

FILES_OF_K3S = (
    Key(
        "k3os.registries.mirrors",
        "mirrors",
        "where to look for the images of a registry, by its name; `*` means all others",
        merge=KEYS,
        phases=LATE,
        fields=MIRROR_FIELDS,
        example="{docker.io: {endpoint: [https://registry.example:5000]}}",
        effect=RESTART,
    ),
    Key(
        "k3os.registries.configs",
        "registry configs",
        "login and TLS of a registry or mirror, by its name as `host` or `host:port`",
        merge=KEYS,
        phases=LATE,
        fields=REGISTRY_FIELDS,
        example="{'registry.example:5000': {auth: {username: me, password: secret}}}",
        effect=RESTART,
    ),
    Key(
        "k3os.embedded_registry",
        "boolean",
        "nodes share the images of `k3os.registries.mirrors` with each other (false); for servers",
        phases=LATE,
        example="true",
        effect=RESTART,
    ),
    Key(
        "k3os.manifests",
        "manifests",
        "objects that servers create in the cluster: a name, and the text of a manifest (YAML), "
        "its URL or its path (`#sha256=HEX` may follow). Objects of a removed manifest stay in the "
        "cluster",
        merge=KEYS,
        phases=LATE,
        secret=True,
        example="{nginx: 'https://server/nginx.yaml'}",
    ),
    Key(
        "k3os.images",
        "images",
        "archives with container images that k3s imports when it starts: URLs or paths "
        "(`#sha256=HEX` may follow); k3s starts without archives that cannot be fetched",
        merge=ADD,
        phases=(RUNTIME,),
        example="['https://server/images.tar.zst']",
        effect=RESTART,
    ),
    Key(
        "k3os.kubelet",
        "kubelet",
        "fields of the kubelet's configuration (KubeletConfiguration), for k3s 1.32 and newer",
        merge=KEYS,
        phases=LATE,
        example="{maxPods: 200, evictionHard: {memory.available: 300Mi}}",
        effect=RESTART,
    ),
    Key(
        "k3os.containerd",
        "toml",
        "tables (TOML) that are added to the configuration of k3s' containerd, with the plugin "
        "names of containerd 1 or 2",
        phases=LATE,
        secret=True,
        effect=RESTART,
    ),
)
