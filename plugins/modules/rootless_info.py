#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rootless_info
short_description: Find what keeps a user from rootless builds on a host or in a pod
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Looks at a host with the eyes of the user who runs the task, and says what would make rootless builds fail there,
    why, and what to do about it.
  - A finding is an error when builds would fail or would not be safe from each other, and a warning when they work with
    less than the host could give.
  - It builds nothing. Causes that only a build can show are named by the build that fails, in C(finding).
  - In a pod of Kubernetes, root is taken for a build of profile A and everybody else for one of profile B, as in
    O(rootless.buildah.buildah_job#module:job.profile). What a pod has no part in, such as linger, is no finding there,
    and remedies name the field of the pod, the image or the role.
options: {}
attributes:
  check_mode:
    support: full
    description: It changes nothing, so check mode makes no difference.
  diff_mode:
    support: N/A
    description: It changes nothing.
  idempotent:
    support: full
    description: It changes nothing.
  platform:
    support: full
    platforms: linux
    description: Target OS/families that can be operated against.
notes:
  - Run it as the builder user, with C(become_user). Root is refused, because nothing of root's is rootless; but not in
    a pod, where root is to be root of the pod's user namespace only.
  - A pod is known by the variable C(KUBERNETES_SERVICE_HOST), which Kubernetes gives to every container, or by
    C(ROOTLESS_BUILD_PROFILE), which Jobs of M(rootless.buildah.buildah_job) have. Reach one with the connection
    P(kubernetes.core.kubectl#connection).
  - A user namespace and, in it, an overlay in memory are tried with C(unshare), and C(newuidmap) and C(newgidmap) map
    the user's ranges in another one. All are gone at once.
  - C(XDG_RUNTIME_DIR) is looked at as this task has it. Under C(become) that may be another one than after a login.
  - Where another service than files answers for subordinate ids, overlaps with ranges of other users cannot be seen.
seealso:
  - name: The findings
    description: Each finding with what it means and what to do.
    link: https://github.com/rootless-buildah/rootless.buildah/blob/main/docs/findings.md
"""

EXAMPLES = r"""
- name: Ask what keeps the builder user from building
  rootless.buildah.rootless_info:
  become: true
  become_user: builder
  register: doctor

- name: Show what root would have to type on this host
  ansible.builtin.debug:
    msg: "{{ doctor.findings | map(attribute='commands') | flatten }}"

- name: Stop unless the user can build
  ansible.builtin.assert:
    that: doctor.ready
    fail_msg: "{{ doctor.findings | selectattr('severity', 'eq', 'error') | map(attribute='remedy') | join('; ') }}"
"""

RETURN = r"""
ready:
  description: Whether no finding is an error.
  returned: success
  type: bool
findings:
  description: What was found, errors first; empty on a host where everything is right.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The finding's name, which never changes.
      type: str
      sample: subid_missing
    severity:
      description: V(error) or V(warning).
      type: str
      sample: error
    evidence:
      description: What was seen on this host.
      type: str
      sample: "/etc/subuid: no range of builder; /etc/subgid: no range of builder"
    cause:
      description: What is wrong, and why it matters.
      type: str
      sample: the builder user has no or too few subordinate ids
    remedy:
      description: What to do, with the command and the role that does it.
      type: str
      sample: >-
        Allocate them: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER (role subid); where another
        service gives them and this buildah reads the files only, write the same ranges into /etc/subuid and /etc/subgid
    commands:
      description:
        - The same as complete command lines for a shell of root's on this host, in their order, with its users, ids,
          paths and packages. What they set stays set after a reboot where the host has a place for that.
        - Empty where no command can do it, as in a pod. Packages are known for C(apt-get), C(dnf) and C(zypper).
        - Where a range of ids is taken away, the user's image store is removed first, since nobody could read it any
          more.
      type: list
      elements: str
      sample: ["usermod --add-subuids 165536-231071 --add-subgids 165536-231071 builder"]
    by_hand:
      description: Why there are no commands, on a host; empty where there are some, and in a pod.
      type: str
      sample: ""
    guide:
      description: Where the guide tells more.
      type: str
      sample: https://github.com/rootless-buildah/rootless.buildah/blob/main/docs/findings.md#subid_missing
facts:
  description:
    - What the findings were concluded from. V(null) stands for what this kernel lacks or what could not be tried.
  returned: success
  type: dict
  contains:
    user:
      description: The user who was looked at, with RV(facts.uid) and RV(facts.gid).
      type: str
    uid:
      description: The user's uid.
      type: int
    gid:
      description: The user's primary group.
      type: int
    home:
      description: The user's home directory.
      type: str
    home_there:
      description: Whether it exists, as far as that can be seen.
      type: bool
    home_source:
      description: What provides it, V(systemd-homed) or V(an automount), empty where it just lies there.
      type: str
    has_account:
      description: Whether passwd or another service of nsswitch.conf knows the user; newuidmap serves nobody else.
      type: bool
    profile:
      description: V(a) or V(b) in a pod, empty elsewhere.
      type: str
    uid_map:
      description: The user namespace of this task, lists of the first uid in it, the first outside, and their number.
      type: list
      elements: list
    capabilities:
      description: Which of C(SETUID), C(SETGID) and C(SETFCAP) are in the bounding set.
      type: list
      elements: str
    seccomp:
      description: Whether a seccomp filter is in force.
      type: bool
    security_label:
      description: What AppArmor or SELinux knows this task by, empty without both.
      type: str
    proc_masked:
      description: Whether parts of C(/proc) are covered, as in containers, so that no process can mount it anew.
      type: bool
    mount_error:
      description:
        - What was said when the mounts of an own namespace were made private; empty where it worked, V(null) where
          there is no user namespace.
      type: str
    package_manager:
      description: V(apt-get), V(dnf) or V(zypper), empty where none of them is there.
      type: str
    settings_closed:
      description: Whether C(/proc/sys) is read-only, as in a container.
      type: bool
    kernel:
      description: The kernel's release.
      type: str
    cgroup:
      description: V(v2), V(hybrid) where cgroup v1 and v2 both have controllers, V(v1) or V(none).
      type: str
    isolation:
      description: What C(BUILDAH_ISOLATION) is set to in the environment or in C(containers.conf), or empty.
      type: str
    max_user_namespaces:
      description: The setting C(user.max_user_namespaces).
      type: int
    unprivileged_userns_clone:
      description: The setting C(kernel.unprivileged_userns_clone).
      type: int
    apparmor_restrict_unprivileged_userns:
      description: The setting C(kernel.apparmor_restrict_unprivileged_userns).
      type: int
    ping_group_range:
      description: The setting C(net.ipv4.ping_group_range), first and last gid.
      type: list
      elements: int
    userns_error:
      description: What was said when a user namespace was tried; empty where it worked.
      type: str
    native_overlay:
      description: Whether an overlay could be mounted in a user namespace.
      type: bool
    subid_service:
      description: The service that answers for subordinate ids in C(nsswitch.conf).
      type: str
    subuid:
      description: The user's subordinate uids.
      type: dict
      contains: &ids
        ranges:
          description: The ranges, each with C(start) and C(count).
          type: list
          elements: dict
        doubled:
          description: Own ranges that overlap.
          type: list
          elements: str
        shared:
          description: Overlaps with other users' ranges.
          type: list
          elements: str
        covered:
          description: Accounts or groups whose id lies in a range.
          type: list
          elements: str
    subgid:
      description: The user's subordinate gids.
      type: dict
      contains: *ids
    subid_closed:
      description: Which of C(/etc/subuid) and C(/etc/subgid) the user may not read.
      type: list
      elements: str
    subid_refused:
      description:
        - The lines at which a buildah that reads these tables by itself gives them up, with file and number.
      type: list
      elements: str
    subid_unread:
      description:
        - What these tables say otherwise than the service that answers, where this buildah reads the tables only.
      type: list
      elements: str
    mapping_error:
      description:
        - What was said when C(newuidmap) and C(newgidmap) were to map the ranges; empty where it worked, V(null) where
          something else is known to stand in the way.
      type: str
    no_new_privs:
      description: Whether the process of this task cannot gain privileges.
      type: bool
    sys_admin:
      description: Whether C(CAP_SYS_ADMIN) is in the bounding set; in containers it usually is not.
      type: bool
    newuidmap:
      description: The program C(newuidmap).
      type: dict
      contains: &helper
        path:
          description: Where it is, empty where it is missing.
          type: str
        mode:
          description: Its mode in octal digits.
          type: str
        kind:
          description: V(setuid), V(filecaps), or V(none) where it has no right to write maps.
          type: str
        nosuid:
          description: Where the file system is mounted that takes it its rights, empty where none does.
          type: str
    newgidmap:
      description: The program C(newgidmap).
      type: dict
      contains: *helper
    tools:
      description: The versions of the programs that are there, empty where none was asked for.
      type: dict
      sample: {"buildah": "1.39.3", "crun": "1.21", "podman": ""}
    network_backend:
      description: What makes networks, V(netavark) or V(cni), empty where nothing says it.
      type: str
    network_backend_named:
      description: Whether C(containers.conf) says it; otherwise the image store remembers it.
      type: bool
    netavark:
      description: Where C(netavark) is, empty where buildah does not find it.
      type: str
    netavark_elsewhere:
      description: Where it is in the usual directories, which may not be those that are set.
      type: str
    helper_directory:
      description: The first directory in which buildah looks for it.
      type: str
    runtime:
      description: The OCI runtime that C(containers.conf) makes the default, empty where it names none.
      type: str
    runtime_path:
      description: Where that is, empty where it is missing.
      type: str
    network_command:
      description: Which of C(pasta) and C(slirp4netns) is set for users, empty where none is.
      type: str
    store:
      description: The image store that the user's builds use.
      type: dict
      contains:
        strategy:
          description:
            - How builds choose it, C(builder_store_strategy) of the role builder. With another one than V(host) there
              are several, all below RV(facts.store.graphroot).
          type: str
        driver:
          description:
            - The driver that builds use, empty where they take C(overlay) if it works, as with a C(storage.conf) of the
              user's that names none.
          type: str
        driver_set:
          description: Whether C(STORAGE_DRIVER) or a C(storage.conf) names it; otherwise this buildah has chosen it.
          type: bool
        mount_program:
          description: The mount program that the user's own C(storage.conf) sets, empty where it sets none.
          type: str
        graphroot:
          description: Where the store is or will be.
          type: str
        there:
          description: Whether it is there.
          type: bool
        config:
          description: The user's own C(storage.conf).
          type: str
        config_kind:
          description:
            - V(missing) also where it is empty, V(managed) where role builder keeps it, V(sections) where it has a
              table C(storage), V(inline) where that stands in one line or in keys with dots, or V(bare).
          type: str
        made_with_fuse:
          description: Whether fuse-overlayfs made the store, and keeps it whatever C(storage.conf) says now.
          type: bool
        filesystem:
          description: The type of the file system there.
          type: str
        mount_point:
          description: Where that is mounted.
          type: str
        mount_flags:
          description: How it is mounted.
          type: list
          elements: str
        free:
          description: How many bytes the user may still write there.
          type: int
        free_inodes:
          description: How many files the user may still make there, null where the file system sets no limit.
          type: int
        closed:
          description: What the user may not write although it must, empty where there is nothing.
          type: str
        unmade:
          description: What does not exist and has to be made in RV(facts.store.closed), empty where all is there.
          type: str
        closed_top:
          description: The highest directory on the way there that is another user's.
          type: str
        closed_owner:
          description: Whose RV(facts.store.closed) is.
          type: int
        closed_at_home:
          description: Whether that is the user's home or below it, and no symbolic link leads elsewhere on the way.
          type: bool
        elsewhere:
          description: A place on a local disk that could hold the store, empty where none is known.
          type: str
    session_dir:
      description: The runtime directory that builds find, empty where there is none.
      type: str
    runtime_dir:
      description: C(XDG_RUNTIME_DIR), empty where it is not set.
      type: str
    runtime_dir_owner:
      description: The owner's uid of that directory.
      type: int
    temporary_dir:
      description: C(TMPDIR), empty where it is not set.
      type: str
    temporary_dir_closed:
      description: Whether it is set and the user cannot write to it.
      type: bool
    linger:
      description: Whether the user lingers; V(null) without systemd.
      type: bool
    fuse_device:
      description: Whether the user can open C(/dev/fuse), V(open), V(closed) or V(missing).
      type: str
    tun_device:
      description: The same of C(/dev/net/tun).
      type: str
    pause_stale:
      description: Whether podman keeps a user namespace of the user that was made with other ranges.
      type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._diagnosis import as_results, diagnose
from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, InputError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_THE_BUILDER, fail
from ansible_collections.rootless.buildah.plugins.module_utils._findings import ERROR
from ansible_collections.rootless.buildah.plugins.module_utils._host_facts import look, pod_profile
from ansible_collections.rootless.buildah.plugins.module_utils._process import Runner
from ansible_collections.rootless.buildah.plugins.module_utils._user import environment


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        if os.getuid() == 0 and not pod_profile(os.environ, 0):
            raise InputError("this task runs as root", "nothing of root's is rootless",
                             "Run it as the builder user (become_user)")
        facts = look(Runner(environment()))
    except (BuildahError, OSError) as error:
        fail(module, error, OF_THE_BUILDER)
    found = diagnose(facts)
    module.exit_json(
        changed=False,
        ready=all(finding.severity != ERROR for finding, _seen in found),
        findings=as_results(found, facts),
        facts=facts.as_result(),
    )


if __name__ == "__main__":
    main()
