# k3s, kubectl and k3os are in /usr/sbin, where Debian's PATH for users does not look
case ":$PATH:" in
*:/usr/sbin:*) ;;
*) PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ;;
esac
# k3s' own kubeconfig; group rancher may read it
if [ -z "${KUBECONFIG:-}" ] && [ -r /etc/rancher/k3s/k3s.yaml ]; then
    export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
fi
# the links of these programs lead to k3s, which a node may still be fetching; called by bash(1)
command_not_found_handle() {
    case $1 in
    k3s | kubectl | crictl | ctr) echo "$1: k3s is not there yet; \`k3os status\` says why" >&2 ;;
    *) echo "$0: $1: command not found" >&2 ;;
    esac
    return 127
}
