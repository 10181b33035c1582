#!/bin/sh
# Says what a node is and has; changes nothing. One line for each text: its name and, in base64, the text.
# $1: the kubelet's directory. $2: the distribution's list of system calls. $3: the import for containerd.
set -u
LC_ALL=C
# A kubelet that systemd runs looks for getsubids here.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
directory=$1

text() {
  printf '%s %s\n' "$1" "$(base64 | tr -d '\n')"
}

# $1: a name; the others: files.
file() {
  name=$1
  shift
  cat -- "$@" 2> /dev/null | text "$name"
}

# $1: a name; the others: a program with its arguments.
words() {
  name=$1
  shift
  "$@" 2> /dev/null < /dev/null | text "$name"
}

# The value of an option of the kubelet, from its words, one a line.
option() {
  printf '%s\n' "$arguments" | awk -v name="--$1" '
    $0 == name { getline; value = $0; next }
    index($0, name "=") == 1 { value = substr($0, length(name) + 2) }
    END { print value }'
}

arguments=
for process in /proc/[0-9]*; do
  case $(readlink "$process/exe" 2> /dev/null) in
    */kubelet | */kubelet' (deleted)')
      arguments=$(tr '\0' '\n' < "$process/cmdline" | tail -n +2)
      break
      ;;
  esac
done

words kernel uname -r
words machine uname -m
file max_user_namespaces /proc/sys/user/max_user_namespaces
words getsubids sh -c 'command -v getsubids'
words subuid getsubids kubelet
words subgid getsubids -g kubelet
file seccomp_source "$2"
file seccomp_profile "$directory/seccomp/rootless-build.json"

file apparmor_enabled /sys/module/apparmor/parameters/enabled
file apparmor_profiles /sys/kernel/security/apparmor/profiles
words apparmor_parser sh -c 'command -v apparmor_parser'
words apparmor_service systemctl is-enabled apparmor.service
words apparmor_rules sh -c 'cd /etc/apparmor.d && ls -d abi/3.0 abi/4.0 tunables/global abstractions/base'
words apparmor_users sh -c 'grep -l "rootless-build" /proc/[0-9]*/attr/current'
file selinux_enforce /sys/fs/selinux/enforce

words containerd_version containerd --version
words containerd_main sh -c 'if [ -e /etc/containerd/config.toml ]; then echo yes; fi'
file containerd_config /etc/containerd/config.toml
file containerd_own "$3"
words containerd_dump containerd config dump
words crio_version crio --version
words crio_config crio config
words crun_version crun --version
words crun_path sh -c 'command -v crun'
words runc_version runc --version
words units systemctl list-units --all --plain --no-legend containerd.service crio.service kubelet.service

words kubelet_version kubelet --version
printf '%s' "$arguments" | text kubelet_arguments
for name in "$(option config)" "$(option config-dir)"/*.conf; do
  if [ -f "$name" ]; then
    printf '%s' "$name" | text kubelet_path
    file kubelet_content "$name"
  fi
done
for name in "$directory"/pods/*/userns; do
  if [ -f "$name" ]; then
    file mapping "$name"
  fi
done
