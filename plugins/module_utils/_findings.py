# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of what makes rootless builds fail: data in one place for the doctor and for all who explain failures.

Pure. Each finding has a heading in docs/findings.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Optional, Sequence

# An error: builds fail, or are not safe from each other. A warning: builds work, with less than this host could give.
ERROR, WARNING = "error", "warning"
GUIDE = "https://github.com/rootless-buildah/rootless.buildah/blob/main/docs/findings.md"


@dataclass(frozen=True)
class Finding:
    """A known cause.

    :param id: its name for ever, and its anchor in the guide.
    :param severity: ``error`` or ``warning``.
    :param cause: what is wrong and why it matters.
    :param remedy: what to do, naming the role that does it.
    :param by_hand: why no command cures it, where none does; the commands themselves are in _remedies.
    :param in_pod: what to do about it in a pod, where that is another thing; no command in a pod lasts.
    """

    id: str
    severity: str
    cause: str
    remedy: str
    by_hand: str = ""
    in_pod: str = ""

    @property
    def guide(self) -> str:
        """The address of its section in the guide."""
        return f"{GUIDE}#{self.id}"

    @property
    def sentence(self) -> str:
        """Cause and remedy in one line, for messages that have no fields for them."""
        return f"{self.cause} ({self.id}). {self.remedy}"

    def remedy_in(self, pod: bool) -> str:
        """What to do on a host or in a pod."""
        return self.in_pod if pod and self.in_pod else self.remedy

    def as_result(self, seen: str, commands: Sequence[str] = (), pod: bool = False) -> dict[str, Any]:
        """Return it as a module returns it.

        :param seen: the evidence.
        """
        return {
            "id": self.id,
            "severity": self.severity,
            "evidence": seen,
            "cause": self.cause,
            "remedy": self.remedy_in(pod),
            "commands": list(commands),
            "by_hand": "" if commands or pod else self.by_hand,
            "guide": self.guide,
        }


_PACKAGES = "the names of packages are known for apt-get, dnf and zypper, where these put the programs into place"
_IMAGE = "Use the builder image of the role cluster_builder"
_NEWUIDMAP = (
    "Set allowPrivilegeEscalation: true, without which newuidmap gains nothing, and use the builder image of the role "
    "cluster_builder, where it has a file capability in place of the setuid bit; or use profile a"
)
_SUBIDS = f"{_IMAGE}, whose /etc/subuid and /etc/subgid give user build nearly all of the 65536 ids of a pod"

FINDINGS: tuple[Finding, ...] = (
    Finding(
        "userns_off",
        ERROR,
        "user namespaces are switched off, or there are too few",
        "Raise user.max_user_namespaces: sysctl -w user.max_user_namespaces=15000 (role userns)",
        by_hand="where /proc/sys is read-only, as in a container, the host has to be changed",
        in_pod="Raise user.max_user_namespaces on the node (role userns)",
    ),
    Finding(
        "userns_blocked",
        ERROR,
        "unprivileged user namespaces are blocked by a sysctl, AppArmor or seccomp",
        "Allow them for the builder user: sysctl -w kernel.unprivileged_userns_clone=1 or "
        "kernel.apparmor_restrict_unprivileged_userns=0, whichever this kernel has (role userns); "
        "in a container, another seccomp profile",
        by_hand="no setting of this host blocks them: whoever started the container has to allow them",
        in_pod="Give the pod the seccomp profile that the role cluster_node puts on nodes: seccompProfile "
        "{type: Localhost, localhostProfile: rootless-build.json}; the runtime's own refuses what makes namespaces",
    ),
    Finding(
        "pod_capabilities",
        ERROR,
        "the pod lacks capabilities, so that ids cannot be mapped: root of a pod needs SETUID, SETGID and SETFCAP, "
        "another user SETUID and SETGID; or buildah unshare was called as root of a pod and maps others than its ids",
        "Add them in capabilities.add of the container, as the Jobs of buildah_job do (role cluster_node makes nodes "
        "ready for these); as root of a pod call buildah build, which needs no buildah unshare",
        by_hand="whoever makes the pod decides on its capabilities",
    ),
    Finding(
        "newuidmap",
        ERROR,
        "the id map could not be written: newuidmap or newgidmap is missing or has no privilege",
        "Install uidmap with its setuid bit or file capabilities: setcap cap_setuid=ep on newuidmap, "
        "cap_setgid=ep on newgidmap (role builder_tools), on a file system that is not mounted nosuid",
        by_hand=_PACKAGES,
        in_pod=_NEWUIDMAP,
    ),
    Finding(
        "subid_missing",
        ERROR,
        "the builder user has no or too few subordinate ids",
        "Allocate them: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER (role subid); where another "
        "service gives them and this buildah reads the files only, write the same ranges into /etc/subuid and "
        "/etc/subgid",
        by_hand="usermod cannot give the ranges: another service than the files answers for them, a range stands under "
        "the uid, no ids are left, or the uid is no account's",
        in_pod=_SUBIDS,
    ),
    Finding(
        "netavark_missing",
        ERROR,
        "netavark is not where buildah looks for it, or containers.conf demands CNI, which buildah lacks from 1.35 on",
        "Install netavark (role builder_tools), and take network_backend = \"cni\" out of containers.conf",
        by_hand=f"{_PACKAGES}; who has set network_backend has a reason to be asked for",
        in_pod=f"{_IMAGE}, or install netavark in yours, in one of buildah's helper directories",
    ),
    Finding(
        "network_helper",
        ERROR,
        "the network of RUN steps cannot be made: slirp4netns or pasta is missing, or users cannot open /dev/net/tun",
        "Install them (role builder_tools), load the module tun, give a container the device, "
        "let users open /dev/net/tun (mode 0666); or use network: host",
        by_hand="this kernel has no module tun to load, or a container has to be started with the device",
    ),
    Finding(
        "cgroup_hybrid",
        WARNING,
        "OCI runtimes want a cgroup hierarchy, and crun refuses a hybrid one, whose version 2 has controllers beside "
        "version 1; RUN steps get chroot, which is no boundary",
        "Boot with cgroup v2 only, which role crun can see to, or have runc in place of crun; or stay with isolation: "
        "chroot",
        by_hand="the hierarchy is chosen when the host boots: the kernel is started with another option",
    ),
    Finding(
        "runtime_missing",
        WARNING,
        "the OCI runtime is not installed, or not the one that containers.conf makes the default; RUN steps get "
        "chroot, which is no boundary, or fail",
        "Install it, or leave the choice to buildah and install crun (role crun)",
        by_hand="a runtime with a name of its own comes from whoever set it",
    ),
    Finding(
        "native_overlay",
        ERROR,
        "the kernel and the overlay driver do not fit together",
        "Use fuse-overlayfs 0.7.6 or newer, or a kernel from 5.13 on (roles fuse and builder_tools)",
        by_hand=_PACKAGES,
        in_pod="Give the node a kernel from 5.13 on (role cluster_node)",
    ),
    Finding(
        "not_unshared",
        ERROR,
        "buildah mount was called outside of the builder user's user namespace",
        "Call it under buildah unshare, as native scripts are",
        by_hand="the call itself has to be another one",
    ),
    Finding(
        "mount_denied",
        ERROR,
        "mounts are forbidden: by a security module (AppArmor or SELinux) where it says permission denied, by a "
        "seccomp filter where it says operation not permitted",
        "Let whoever starts the container choose another profile for it (in a cluster, role cluster_node)",
        by_hand="who started the container chose its profile",
        in_pod="Give the pod the AppArmor profile that the role cluster_node loads on nodes: appArmorProfile "
        "{type: Localhost, localhostProfile: rootless-build}; on SELinux seLinuxOptions {type: container_engine_t}",
    ),
    Finding(
        "selinux_labels",
        ERROR,
        "SELinux does not let this user label what a RUN step gets: the policy has no rules for users' container tools",
        "Let this user's RUN steps go without labels, label = false in the section [containers] of "
        "~/.config/containers/containers.conf; in the RHEL family install container-selinux, which has the rules",
        by_hand="what separates RUN steps from the rest of the host is for its administrator to choose",
    ),
    Finding(
        "disk_full",
        ERROR,
        "the disk that holds the image store is full",
        "Free space, or remove the images that have no name, buildah rmi --prune, and then those that you can spare "
        "(role builder)",
        by_hand="projects have stores of their own: builder_prune prunes them (role builder)",
        in_pod="Free the disk of the node, or let the build have more of it with job.storage",
    ),
    Finding(
        "fuse_missing",
        ERROR,
        "the image store needs fuse-overlayfs, because users cannot mount overlays here, because its file system bears "
        "none or because it was made with it, and fuse-overlayfs cannot run: it or /dev/fuse is missing, or users "
        "cannot open the device",
        "Install fuse-overlayfs (role builder_tools) and provide the device: modprobe fuse, chmod 0666 /dev/fuse "
        "(role fuse)",
        by_hand="this kernel has no module fuse to load, or a container has to be started with the device",
        in_pod="Give the pod the AppArmor profile rootless-build (role cluster_node), and a volume at the place of the "
        "image store; an old node needs a kernel from 5.13 on",
    ),
    # What only the doctor sees.
    Finding(
        "pod_isolation",
        ERROR,
        "a RUN step would mount a /proc of its own, which nobody may while parts of the present one are covered, as "
        "containers and pods (procMount) have it",
        "Let whoever starts the container leave its /proc uncovered: docker run --security-opt "
        "systempaths=unconfined, podman run --security-opt unmask=ALL; or go without a boundary, isolation: chroot, "
        "which builds take by themselves here (BUILDAH_ISOLATION by hand, role builder)",
        by_hand="whoever starts a container decides what is covered, and its user whether steps go without a boundary",
        in_pod="Set BUILDAH_ISOLATION: chroot in env, as the builder image does (role cluster_builder)",
    ),
    Finding(
        "tools_missing",
        ERROR,
        "buildah or skopeo is not installed, or this buildah is older than the collection can work with",
        "Install them: apt install buildah skopeo, or dnf install buildah skopeo (role builder_tools); a distribution "
        "whose buildah is too old has to be a newer release of it",
        by_hand=f"{_PACKAGES}; a newer buildah than the distribution's comes with its next release",
        in_pod=_IMAGE,
    ),
    Finding(
        "subid_unreadable",
        ERROR,
        "the builder user may not read the table of subordinate ids: buildah finds no range and has a single id",
        "Let everybody read it, as shadow's own programs do: chmod a+r /etc/subuid /etc/subgid",
        in_pod=_SUBIDS,
    ),
    Finding(
        "subid_malformed",
        ERROR,
        "a line in the table of subordinate ids, whoever's it is, is none of OWNER:FIRST:COUNT in plain numbers: this "
        "buildah, which is built without libsubid, then finds no range at all and has a single id",
        "Correct the line, or put # before it; shadow's own programs pass it over",
        by_hand="what the line should say is for whoever wrote it to tell",
        in_pod=_SUBIDS,
    ),
    Finding(
        "subid_short",
        ERROR,
        "the builder user has fewer subordinate ids than images use: a file of theirs that belongs to a higher id "
        "cannot be unpacked",
        "Add a range: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER; 65536 ids serve every image of "
        "a distribution (role subid)",
        by_hand="as for subid_missing",
        in_pod=_SUBIDS,
    ),
    Finding(
        "subid_doubled",
        ERROR,
        "ranges of the builder user overlap one another, and newuidmap refuses to map an id twice",
        "Put one range in the place of those that overlap: usermod --del-subuids FIRST-LAST --del-subgids FIRST-LAST "
        "USER, then the same with --add-subuids and --add-subgids; what is missing then is filled up (role subid)",
        by_hand="as for subid_missing",
        in_pod=_SUBIDS,
    ),
    Finding(
        "subid_shared",
        WARNING,
        "a range of the builder user belongs to another user, too: each can read and change the other's containers",
        "Take the range from one of them, usermod --del-subuids FIRST-LAST --del-subgids FIRST-LAST USER, and give "
        "that user a new one (role subid); what is in that user's image store has to be pulled and built again",
        by_hand="as for subid_missing; or the image store is the user's home itself, or projects have stores",
    ),
    Finding(
        "subid_covers_account",
        ERROR,
        "a range of the builder user holds the id of a real account: a RUN step can act as that account",
        "Take the range away, usermod --del-subuids FIRST-LAST --del-subgids FIRST-LAST USER, and give the user a new "
        "one (role subid); what is in the user's image store has to be pulled and built again",
        by_hand="as for subid_missing; or the image store is the user's home itself, or projects have stores",
    ),
    Finding(
        "single_mapping",
        ERROR,
        "the builder user has ranges, and newuidmap and newgidmap have their rights, but cannot map them for this "
        "process: it may gain no privileges (no_new_privs), or is in a container where the setuid bit does not serve "
        "or that lacks these ids; builds get a single id, and the first file of another owner ends them",
        "Start what builds without no_new_privs (allowPrivilegeEscalation, NoNewPrivileges=), or give the programs "
        "file capabilities in place of the setuid bit: setcap cap_setuid=ep on newuidmap, cap_setgid=ep on newgidmap; "
        "give a container the ids that it lacks, 65536 above its own",
        by_hand="whoever starts the process decides what privileges it may gain, and whoever starts a container what "
        "ids it has",
        in_pod=_NEWUIDMAP,
    ),
    Finding(
        "pause_stale",
        WARNING,
        "podman keeps a user namespace of the builder user that was made with other subordinate ids; what enters it "
        "sees files under wrong owners",
        "End it as that user: podman system migrate (role builder)",
    ),
    Finding(
        "crun_missing",
        WARNING,
        "this host has cgroup v2 and no crun; runc starts slower, and before 1.0.0 not at all for users",
        "Install crun (role crun)",
        by_hand=_PACKAGES,
    ),
    Finding(
        "fuse_needless",
        WARNING,
        "the image store uses fuse-overlayfs although this kernel lets users mount overlays, which is faster",
        "Take mount_program out of the user's storage.conf (role builder); a store that was made with it keeps it "
        "until it is emptied, and then its images have to be pulled and built again",
        by_hand="role builder keeps the user's storage.conf: the role is the remedy; or the store was made with it: "
        "whether its images can go is for their user to say",
    ),
    Finding(
        "graphroot_filesystem",
        ERROR,
        "the image store is on a file system that cannot hold one: network file systems refuse the owners that images "
        "need, and on another overlay, on an xfs that was made with ftype=0, and on some others, no overlay can be",
        "Put graphroot on a local file system such as ext4, or xfs with ftype=1 (role builder); or install "
        "fuse-overlayfs, which buildah takes by itself on an overlay, eCryptfs or such an xfs",
        by_hand="no local file system has room for images; or role builder keeps the user's storage.conf: the role is "
        "the remedy; or its storage is one line or keys with dots: graphroot has to be set there by hand",
        in_pod="Mount a volume, such as an emptyDir, at the place of the image store: /var/lib/containers of root, "
        "~/.local/share/containers of another user (role cluster_builder has an image that is made for this)",
    ),
    Finding(
        "store_not_writable",
        ERROR,
        "the builder user may not write to the image store or make it; or the user's home, in which it would be, does "
        "not exist",
        "Make the home, install -d -m 0700 -o USER -g GROUP HOME; give what root owns below it back to the user with "
        "chown USER:, but no file of another owner: those belong to images; or set another graphroot (role builder)",
        by_hand="the store is outside of the user's home or has a symbolic link on the way: whether it is the user's "
        "to take is for the administrator to say; or its file system is mounted read-only; or the home is one that "
        "an automount or systemd-homed has to provide, or that is to be none",
        in_pod="Set fsGroup: 1000 for a volume of user build, and runAsUser: 0 for one of root; what a claim of "
        "job.cache_claim holds belongs to whoever wrote it",
    ),
    Finding(
        "store_noexec",
        ERROR,
        "the image store is on a file system that is mounted noexec, and with the driver vfs RUN steps execute from "
        "there",
        "Use the driver overlay, which does not mind (role builder), or mount the file system without noexec",
        by_hand="the driver is set elsewhere than in a storage.conf of the user's own, or overlay does not work here: "
        "the role is the remedy",
    ),
    Finding(
        "store_nosuid",
        WARNING,
        "the image store is on a file system that is mounted nosuid, and with the driver vfs sudo, su and the like "
        "have no effect in RUN steps",
        "Use the driver overlay, which does not mind (role builder), or mount the file system without nosuid",
        by_hand="the driver is set elsewhere than in a storage.conf of the user's own, or overlay does not work here: "
        "the role is the remedy",
    ),
    Finding(
        "disk_low",
        WARNING,
        "the disk that holds the image store is nearly full",
        "Free space, or remove the images that have no name, buildah rmi --prune, and then those that you can spare "
        "(role builder)",
        by_hand="projects have stores of their own: builder_prune prunes them (role builder)",
        in_pod="Free the disk of the node, or let the build have more of it with job.storage",
    ),
    Finding(
        "runtime_dir",
        WARNING,
        "XDG_RUNTIME_DIR is that of another user or does not exist, as after su; buildah called by hand fails, "
        "while the modules of this collection find the right directory themselves",
        "Log in as the user itself (ssh, machinectl shell) or call unset XDG_RUNTIME_DIR; in playbooks leave it out of "
        "environment (role builder)",
        by_hand="the variable is one of the process that calls, and no other process can change it",
        in_pod="Leave XDG_RUNTIME_DIR out of env, or let it name a directory of the user's own",
    ),
    Finding(
        "temporary_dir",
        WARNING,
        "the user cannot write to the directory that TMPDIR names, as after su; buildah called by hand fails, while "
        "the modules of this collection do without",
        "Log in as the user itself (ssh, machinectl shell) or call unset TMPDIR; in playbooks leave it out of "
        "environment",
        by_hand="the variable is one of the process that calls, and no other process can change it",
        in_pod="Leave TMPDIR out of env, or let it name a directory that the user can write to",
    ),
    Finding(
        "no_linger",
        WARNING,
        "systemd ends what the builder user runs, and removes its runtime directory with logins in it, when the last "
        "session closes; or somebody has ended it although the user lingers",
        "Let the user linger: loginctl enable-linger USER; where it does, start its service manager: systemctl start "
        "user@UID.service (role builder)",
    ),
    Finding(
        "ping_group_range",
        WARNING,
        "ping does not work in RUN steps: the builder user's group is outside net.ipv4.ping_group_range",
        "Widen it: sysctl -w net.ipv4.ping_group_range='0 2147483647' (role userns)",
        by_hand="as for userns_off",
    ),
)
# What keeps Jobs of a cluster from building; the cluster tells which by itself.
IN_CLUSTER: tuple[Finding, ...] = (
    Finding(
        "pod_security",
        ERROR,
        "the Pod Security level of the namespace does not admit pods that build; baseline does",
        "Let the namespace enforce baseline: label pod-security.kubernetes.io/enforce (role cluster_builder); images "
        "without RUN steps can be built with job.profile: c",
        by_hand="the level of a namespace is its administrator's to choose",
    ),
    Finding(
        "pod_policy",
        ERROR,
        "a policy of the cluster refuses the pod; the profiles that builds need are for labelled namespaces only",
        "Apply the role cluster_builder to the namespace, or use a profile that its policy allows",
        by_hand="what policies allow is for the cluster's administrator to say",
    ),
    Finding(
        "pod_quota",
        ERROR,
        "the quota of the namespace has no room for the build",
        "Wait for other builds, ask for less with job.resources and job.storage, or raise the quota (role "
        "cluster_builder)",
        by_hand="which of them is right depends on the cluster",
    ),
    Finding(
        "pod_host_users",
        ERROR,
        "the pod has no user namespace of its own: the API server or the node ignored hostUsers, and root in the pod "
        "would be root of the node",
        "Switch the feature gate UserNamespacesSupport on, upgrade to Kubernetes 1.33, or use job.profile: b",
        by_hand="feature gates are set where the control plane and the kubelets are started",
    ),
    Finding(
        "pod_userns",
        ERROR,
        "the node cannot make a user namespace for the pod: its runtime, kernel or the ids of user kubelet do not do",
        "Apply the role cluster_node to the node; it needs Linux 6.3, containerd 2.0 or CRI-O 1.25, and crun 1.9 or "
        "runc 1.2",
        by_hand="the role is the remedy",
    ),
    Finding(
        "pod_image_volume",
        ERROR,
        "the cluster mounts no images as volumes, which is how the build context gets into the pod",
        "Switch the feature gate ImageVolume on, upgrade to Kubernetes 1.35, or set job.context_mount: fetch",
        by_hand="feature gates are set where the control plane and the kubelets are started",
    ),
    Finding(
        "pod_seccomp_missing",
        ERROR,
        "the node lacks the seccomp profile rootless-build.json, without which the runtime starts no build",
        "Apply the role cluster_node to the node",
        by_hand="the role makes the profile from the distribution's own list",
    ),
    Finding(
        "pod_apparmor_missing",
        ERROR,
        "the AppArmor profile rootless-build is not loaded on the node, without which the runtime starts no build",
        "Apply the role cluster_node to the node",
        by_hand="the role writes the profile",
    ),
    Finding(
        "pod_container",
        ERROR,
        "the node's runtime does not start the container",
        "Look at the words of the runtime, and at its log on the node",
        by_hand="there are many causes",
    ),
    Finding(
        "pod_image_pull",
        ERROR,
        "the node cannot pull the builder image or the build context: the name does not mean the same to it, its "
        "login or its certificate is wrong, or the image is gone",
        "Check the name, the Secret rootless-buildah-pull (role cluster_builder) and the node's certs.d entry for the "
        "registry (role cluster_node)",
        by_hand="which of them it is, the words of the node say",
    ),
    Finding(
        "pod_registry",
        ERROR,
        "a registry refuses what a step of the Job asks of it",
        "Check the login that the task gives (registry_auth_file, registry_username), or else the Secrets "
        "rootless-buildah-pull and rootless-buildah-push, and whether pods may reach the registry: both are told to "
        "the role cluster_builder",
        by_hand="what the registry wants, its words say",
    ),
    Finding(
        "pod_unschedulable",
        ERROR,
        "no node takes the pod: none has the label of the profile, or none has room",
        "Apply the role cluster_node to nodes, ask for less with job.resources, or wait longer with "
        "job.schedule_timeout",
        by_hand="which of them it is, the scheduler's words say",
    ),
    Finding(
        "pod_evicted",
        ERROR,
        "the node evicted the pod: the build needs more room on the disk than it may have, or the node's disk is full",
        "Raise job.storage, or free the node's disk",
        by_hand="how much a build may need is its user's to say",
    ),
    Finding(
        "pod_disrupted",
        ERROR,
        "nodes were drained or lost more often than a build survives",
        "Run the task again when the cluster is quiet",
        by_hand="it passes by itself",
    ),
    Finding(
        "pod_memory",
        ERROR,
        "the build needs more memory than it may have",
        "Raise limits.memory in job.resources",
        by_hand="how much a build may need is its user's to say",
    ),
    Finding(
        "pod_deadline",
        ERROR,
        "the build took longer than it may",
        "Raise job.deadline; a layer cache (job.cache_claim, cache_from and cache_to) makes builds shorter",
        by_hand="how long a build may take is its user's to say",
    ),
)
BY_ID = {finding.id: finding for finding in (*FINDINGS, *IN_CLUSTER)}


# What tools print when a finding strikes. The first that matches counts: the cause stands before its consequences.
TOLD: tuple[tuple[str, str], ...] = (
    ("userns_off", r"User namespaces are not enabled in /proc/sys/user/max_user_namespaces"),
    ("userns_off", r"unshare\(CLONE_NEWUSER\): (Invalid argument|No space left on device)"),
    ("userns_blocked", r"unshare\(CLONE_NEWUSER\): Operation not permitted"),
    # The namespace is made, and AppArmor takes the capability in it (Ubuntu).
    ("userns_blocked", r"write failed /proc/self/uid_map: Operation not permitted"),
    # Only root of a user namespace maps 0 to 0.
    ("pod_capabilities", r"writing \\?\"0 0 .*\\?\" to /proc/\d+/[ug]id_map: .*not permitted"),
    ("subid_unreadable", r"open /etc/sub[ug]id: permission denied"),
    ("subid_malformed", r"cannot parse subuid/gid information|conversion failed during subuid/gid parsing"),
    ("subid_missing", r"open /etc/sub[ug]id: no such file or directory|no sub[ug]id ranges found"),
    ("subid_missing", r"cannot find (UID|GID)/(UID|GID) for user"),
    # user_namespaces(7): the kernel refuses a map with ranges that overlap.
    ("subid_doubled", r"new[ug]idmap: write to [ug]id_map failed: Invalid argument"),
    ("newuidmap", r"[Ff]alling back to single mapping|new[ug]idmap: .*(not found|not permitted)"),
    ("newuidmap", r"exec: \\?\"new[ug]idmap|writing \\?\".*\\?\" to /proc/\d+/[ug]id_map: .*not permitted"),
    ("subid_missing", r"potentially insufficient UIDs or GIDs available in user namespace"),
    ("subid_missing", r"error setting owner(ship)? of .*: l?chown .*: invalid argument"),
    ("netavark_missing", r"could not find \"netavark\"|cni support is not enabled in this build"),
    ("network_helper", r"failed to read from slirp4netns sync pipe|pasta failed with exit code"),
    ("network_helper", r"could not find (slirp4netns|pasta)"),
    ("cgroup_hybrid", r"cgroups in hybrid mode not supported"),
    ("runtime_missing", r"default OCI runtime \"[^\"]*\" not found|exec: \"(crun|runc)\": executable file not found"),
    ("fuse_missing", r"native overlay not supported and fuse-overlayfs not found"),
    # A program of the image that wants FUSE is not what keeps the store from working.
    ("fuse_missing", r"fuse: (failed to open /dev/fuse|device not found)[^\n]*\n+fuse-overlayfs: cannot mount"),
    ("pod_isolation", r"mount `proc` to `/?proc`: Operation not permitted"),
    ("pod_isolation", r"mounting \\?\"proc\\?\" to rootfs .*: operation not permitted"),
    ("native_overlay", r"/merged(, mount_data=.*)?: invalid argument"),
    ("not_unshared", r"cannot mount using driver \S+ in rootless mode"),
    ("mount_denied", r"remount /, flags: 0x44000: (permission denied|operation not permitted)"),
    ("selinux_labels", r"setting file label on \"[^\"]*\": .*permission denied"),
    # inotify's words for too few watches, which are no matter of a disk.
    ("disk_full", r"(?m)^(?!.*inotify).*([Nn]o space left on device|[Dd]isk quota exceeded)"),
    # Those can hold overlays; so it is the kernel that denies them, and fuse-overlayfs, which would serve, is missing.
    ("fuse_missing", r"'overlay' is not supported over (extfs|xfs|btrfs|tmpfs|f2fs) at"),
    ("graphroot_filesystem", r"'overlay' is not supported over \S+|filesystem is formatted without d_type support"),
    ("graphroot_filesystem", r"a network file system with user namespaces is not supported"),
    ("store_not_writable", r"(?m)^Error: (open|mkdir) \S+/(overlay|vfs)[^/\s]*(/\S+)?: permission denied"),
    ("temporary_dir", r"mkdir \S+/rundir/\S+: no such file or directory"),
)


def known(name: str) -> dict[str, str]:
    """Return a finding as an error wants it: ``cause``, ``remedy`` and ``finding``."""
    return {"cause": BY_ID[name].cause, "remedy": BY_ID[name].remedy, "finding": name}


def finding_for(output: str) -> Optional[Finding]:
    """Return the known cause that a failed program's output points to."""
    return next((BY_ID[name] for name, words in TOLD if re.search(words, output)), None)
