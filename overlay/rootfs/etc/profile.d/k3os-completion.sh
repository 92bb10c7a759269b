# shellcheck shell=bash # sourced by sh, too, which passes over it
# Completion for `k3os` in bash, generated when first used.
if [ -n "${BASH_VERSION-}" ]; then
    _k3os_words() {
        eval "$(k3os completion bash)" && return 124 # ask again, bash(1)
    }
    complete -F _k3os_words k3os
fi
