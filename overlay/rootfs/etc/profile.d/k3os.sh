# k3s, kubectl and k3os are in /usr/sbin, which is not in Debian's PATH for users
case ":$PATH:" in
*:/usr/sbin:*) ;;
*) PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ;;
esac
# k3s' own kubeconfig; group rancher can read it
if [ -z "${KUBECONFIG:-}" ] && [ -r /etc/rancher/k3s/k3s.yaml ]; then
    export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
fi
# /usr/lib/k3os/say sends this signal after a message on a console; elsewhere it means a resize
case $-,${BASH_VERSION:+bash} in
*i*,bash)
    # shellcheck disable=SC2016,SC3047 # expanded then, by bash
    case $(tty) in
    /dev/pts/*) ;;
    *) trap 'printf %s "${PS1@P}"' WINCH ;;
    esac
    ;;
esac
