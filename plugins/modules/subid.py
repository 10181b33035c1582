#!/usr/bin/python
# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: subid
short_description: Give users subordinate uid and gid ranges
version_added: 0.1.0
author: rootless.buildah contributors (@rootless-buildah)
description:
  - Gives users the subordinate ids in C(/etc/subuid) and C(/etc/subgid) that rootless containers need, or takes them
    away.
  - A user may have several ranges of any length. None is ever moved or shrunk, because the files in the user's image
    stores would then belong to somebody else. A user with too few ids gets one more range, above the others.
  - A new range overlaps no range in either file, no uid or gid of an account that can be listed, no ids that
    C(/etc/login.defs) sets aside for accounts, nothing in O(reserved) and not the range that a kubelet uses.
    It lies within C(SUB_UID_MIN), C(SUB_UID_MAX), C(SUB_GID_MIN) and C(SUB_GID_MAX), and has the same numbers for uids
    and gids where both are needed.
  - Ranges that C(nsswitch.conf) has served by another service, like SSSD for FreeIPA, are checked and never written.
  - Lines that nobody understands are kept word for word and returned in RV(problems).
  - All writing is done by C(usermod), under the locks that C(useradd) takes too. Afterwards the tables are read again;
    a range that another program gave out at the same moment is returned and another one chosen.
options:
  name:
    description: The user. Either this or O(users) is needed.
    type: str
    aliases: [user]
  users:
    description: Several users at once, in one call. Either this or O(name) is needed.
    type: list
    elements: dict
    suboptions:
      name:
        description: The user.
        type: str
        required: true
        aliases: [user]
      count:
        description: As O(count), for this user.
        type: int
      start:
        description: As O(start), for this user.
        type: int
      align:
        description: As O(align), for this user.
        type: int
      state:
        description: As O(state), for this user.
        type: str
        choices: [present, absent]
  state:
    description:
      - V(present) makes sure of at least O(count) ids.
      - V(absent) takes away all ranges that stand under the user's name. Lines of others are left alone.
      - C(usermod) takes none from a user who runs something. Then nothing is changed for anybody, and the module fails,
        in check mode too.
    type: str
    choices: [present, absent]
    default: present
  count:
    description:
      - How many uids and how many gids the user shall have at least, all ranges together.
      - Images of distributions want 65536.
    type: int
    default: 65536
  start:
    description:
      - The first id of a range of O(count) ids that the user shall have, for hosts that must agree on it.
      - It may lie outside the limits in C(/etc/login.defs), but it must be free.
      - A container's ids are numbered from the user's lowest on. So the module fails where the user has ids below it,
        and changes nothing.
      - C(useradd) gives the account of a person a range at once, on each host the next that is free there. Make the
        account without one, as in the examples, or take its range away with O(state=absent) before it has images.
      - The user C(kubelet) may have what is otherwise kept for it.
    type: int
  align:
    description:
      - When not 1, the user shall have exactly one range, the same for uids and gids, whose start and length are
        multiples of this number. A kubelet demands that of the user C(kubelet), with 65536 or what its configuration
        has for C(userNamespaces.idsPerPod).
      - O(count) must be a multiple of it. Unless O(start) is given the range begins at 2147483648 where that is free,
        and elsewhere outside of everything that new ranges keep off; the limits of subordinate ids in
        C(/etc/login.defs) do not count.
      - A range that fulfils all that stays. With any other one the module fails, for pods may be using its ids.
    type: int
    default: 1
  reserved:
    description: Ids that no new range may touch, for example those of a directory service that cannot be enumerated.
    type: list
    elements: dict
    default: []
    suboptions:
      start:
        description: The first id.
        type: int
        required: true
      count:
        description: How many ids.
        type: int
        required: true
  lock_timeout:
    description: How many seconds to wait while another program is changing the accounts.
    type: int
    default: 60
  probe:
    description:
      - Whether to make a user namespace as each user whose ranges are present, and have C(newuidmap) and C(newgidmap)
        map all of them there. Fails when they cannot. Changes nothing, so it is done in check mode too, except for
        ranges that are only predicted.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return changed status prediction without modifying target.
    details:
      - A user who does not exist is an error, but only warned about in check mode, where an earlier task may only have
        predicted the account. C(changed) is then a guess, because C(useradd) usually gives ranges of its own, with
        which O(start) fails.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in check mode).
  idempotent:
    support: full
    description: When run twice in a row outside check mode, the second run with the same options changes nothing.
  platform:
    support: full
    platforms: linux
    description: Target OS/families that can be operated against.
requirements:
  - usermod of shadow 4.2 or newer, only to change something
  - getsubids of shadow 4.9 or newer, only for ranges that are not in files
notes:
  - Reading needs no privileges, changing needs root.
seealso:
  - name: subuid(5)
    description: The files' format.
    link: https://man7.org/linux/man-pages/man5/subuid.5.html
"""

EXAMPLES = r"""
- name: Give the builder user 65536 subordinate ids
  rootless.buildah.subid:
    name: build

- name: Several users in one call
  rootless.buildah.subid:
    users:
      - name: build
      - name: ci
        count: 131072
      - name: former
        state: absent

- name: An account without the range that useradd would choose on each host
  ansible.builtin.command:
    argv: [useradd, -K, SUB_UID_COUNT=0, -K, SUB_GID_COUNT=0, --create-home, --home-dir, /home/shared, shared]
    creates: /home/shared

- name: The same range on every host that reads one image store
  rootless.buildah.subid:
    name: shared
    start: 300000

- name: Keep off the ids that a directory service gives out
  rootless.buildah.subid:
    name: build
    reserved:
      - start: 200000000
        count: 200000

- name: Ids for the user namespaces of 110 pods, as a kubelet demands them
  rootless.buildah.subid:
    name: kubelet
    count: 7208960
    align: 65536

- name: Ask whether all ranges can really be mapped, changing nothing
  rootless.buildah.subid:
    name: build
    probe: true
  check_mode: true
"""

RETURN = r"""
users:
  description: Each user with what the user has afterwards; in check mode, what the user would have.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The user.
      type: str
      sample: build
    uid:
      description: The user's uid, V(null) for an account that does not exist.
      type: int
      sample: 1001
    subuid:
      description: The ranges of subordinate uids.
      type: list
      elements: dict
      sample: [{start: 100000, count: 65536}]
      contains: &range
        start:
          description: The first id.
          type: int
        count:
          description: How many ids.
          type: int
    subgid:
      description: The ranges of subordinate gids.
      type: list
      elements: dict
      sample: [{start: 100000, count: 65536}]
      contains: *range
    added:
      description: The ranges that were added.
      type: dict
      contains: &both
        subuid:
          description: Ranges of subordinate uids.
          type: list
          elements: dict
          contains: *range
        subgid:
          description: Ranges of subordinate gids.
          type: list
          elements: dict
          contains: *range
    removed:
      description: The ranges that were removed.
      type: dict
      contains: *both
    migrate_required:
      description:
        - Whether C(podman system migrate) or a fresh login of the user is due, because something the user has was
          made with other ranges. That is so when the ranges were changed and the user has an image store or a running
          podman, and as long as the user's podman keeps a namespace with other ranges.
        - Where only buildah is used, the next command takes the new ranges by itself.
      type: bool
    probed:
      description: Whether newuidmap and newgidmap were seen to map all ranges.
      type: bool
source:
  description: V(files), or V(nss) when another service answers, whose ranges are never written.
  returned: success
  type: str
  sample: files
service:
  description: The service that answers for subordinate ids in C(nsswitch.conf).
  returned: success
  type: str
  sample: files
migrate_required:
  description: Whether it is due for any user.
  returned: success
  type: bool
problems:
  description: What is wrong in the tables and was left alone.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: >-
        V(malformed) is ignored by shadow, or taken for every id there is, V(odd) is not understood by every program or
        shadow in the same way, V(overlap) is
        shared by two owners, V(duplicate) overlaps another range of the same owner, V(covers_account) holds the id of
        an account.
      type: str
    path:
      description: The file.
      type: str
    line:
      description: The line's number, from 1.
      type: int
    message:
      description: One sentence.
      type: str
commands:
  description: The calls that changed something; in check mode, those that would.
  returned: success
  type: list
  elements: list
  sample: [["/usr/sbin/usermod", "--add-subuids", "100000-165535", "--add-subgids", "100000-165535", "build"]]
"""

import os
import random
import shlex
import time
from collections.abc import Sequence
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError, CommandError, InputError
from ansible_collections.rootless.buildah.plugins.module_utils._failure import OF_ROOT, fail
from ansible_collections.rootless.buildah.plugins.module_utils._shadow import Shadow
from ansible_collections.rootless.buildah.plugins.module_utils._subid import (
    Change,
    Host,
    IdRange,
    Spans,
    Wish,
    after,
    check_wishes,
    clashes,
    find_problems,
    plan,
)

ATTEMPTS = 10
UNDO_TIMEOUT = 60  # seconds, whatever the caller's patience: two owners must not keep the same ids


class Run:
    """One call of the module: observe, plan, apply, result."""

    def __init__(self, params: dict[str, Any], check_mode: bool, warn: Callable[[str], None], shadow: Shadow) -> None:
        self.check_mode = check_mode
        self.warn = warn
        self.shadow = shadow
        self.wishes = wishes_of(params)
        self.reserved = [IdRange(item["start"], item["count"]) for item in params["reserved"]]
        self.deadline = time.monotonic() + params["lock_timeout"]
        self.wants_probe = params["probe"]
        self.accounts = {wish.name: shadow.account(wish.name) for wish in self.wishes}
        self.uids = {name: account.pw_uid for name, account in self.accounts.items() if account}
        self.commands: list[list[str]] = []

    def __call__(self) -> dict[str, Any]:
        check_wishes(self.wishes)
        self._check_accounts()
        service = self.shadow.service()
        before = self._observe()
        if service != "files":
            self._check_served(service)
            return self._result(service, before, before)
        changes = plan(before, self.wishes, self.uids)
        if not any(changes):
            return self._result(service, before, before)
        self.shadow.check_usermod()
        if os.geteuid() != 0:
            raise BuildahError("Only root can change subordinate ids", remedy="run the task with become: true")
        if self.check_mode:
            self._check_idle(before, changes)
            self.commands = [self.shadow.usermod(change) for change in changes if change]
            return self._result(service, before, settled(before, changes))
        with self.shadow.alone(self.deadline):
            before, kept = self._settle()
        self._ask_oracle(kept)
        return self._result(service, before, settled(before, kept))

    def _observe(self) -> Host:
        return self.shadow.observe(self.reserved, [account for account in self.accounts.values() if account])

    def _check_accounts(self) -> None:
        for wish in self.wishes:
            account = self.accounts[wish.name]
            if account and account.pw_name != wish.name:
                # usermod would take the other name, and newuidmap too; libsubid and buildah would find nothing there.
                raise InputError(f"{wish.name} is another name of the account {account.pw_name}",
                                 cause="ranges are looked up under the account's own name",
                                 remedy=f"name the user {account.pw_name}")
            if wish.present and account is None:
                missing = InputError(f"There is no user {wish.name}",
                                     remedy="create the account first, with ansible.builtin.user or the role "
                                            "rootless.buildah.builder")
                if not self.check_mode:
                    raise missing
                self.warn(str(missing))

    def _check_served(self, service: str) -> None:
        for wish in self.wishes:
            has = [self.shadow.ranges(wish.name, groups) for groups in (False, True)]
            if not wish.present and any(has):
                raise BuildahError(f"The ranges of {wish.name} cannot be removed",
                                   cause=f"nsswitch.conf has them served by {service}", remedy="remove them there")
            if not wish.present:
                continue
            if wish.start is not None and any(Spans(one).missing(IdRange(wish.start, wish.count)) for one in has):
                raise BuildahError(f"{wish.name} does not have the range {wish.start}:{wish.count}",
                                   cause=f"nsswitch.conf has the ranges served by {service}", remedy="allot it there")
            if wish.start is not None and min(map(min, has)).start < wish.start:
                raise BuildahError(f"The ids of {wish.name} do not begin at {wish.start}",
                                   cause=f"nsswitch.conf has the ranges served by {service}, and the lowest is "
                                         f"{min(map(min, has))}", remedy="allot others there, or ask for that start")
            if any(len(Spans(one)) < wish.count for one in has):
                raise BuildahError(
                    f"{wish.name} has {len(Spans(has[0]))} subordinate uids and {len(Spans(has[1]))} gids instead of "
                    f"{wish.count}",
                    cause=f"nsswitch.conf has them served by {service}, and nothing is written there from here",
                    remedy="allot more there, or remove the subid line from /etc/nsswitch.conf and run this again")

    def _check_idle(self, host: Host, changes: Sequence[Change]) -> None:
        """Fail before anything is written for anybody when usermod would refuse to take ids from a user."""
        for change in changes:
            if not (change.del_uids or change.del_gids) or change.name not in self.uids:
                continue
            found = self.shadow.process_of(self.uids[change.name], host.subuid.granted_to(change.name))
            if found:
                raise BuildahError(
                    f"The subordinate ids of {change.name} cannot be taken away",
                    cause=f"it runs process {found[0]} ({found[1]}), and usermod takes none from who runs something",
                    remedy=f"{self.shadow.how_to_end(change.name)}, and run this again")

    def _settle(self) -> tuple[Host, list[Change]]:
        """Write until a fresh look leaves nothing to do; return what was there first and the changes that were kept."""
        first = None
        kept: list[Change] = []
        for _attempt in range(ATTEMPTS):
            seen = self._observe()
            first = first or seen
            changes = [change for change in plan(seen, self.wishes, self.uids) if change]
            if not changes:
                return first, kept
            self._check_idle(seen, changes)
            for change in changes:
                self.commands.append(self.shadow.write(change, self.deadline))
            seen = self._observe()
            for change in changes:
                # useradd, or a usermod by hand, may have chosen the same ids between our look and our writing.
                if clashes(seen, change, self.uids.get(change.name)):
                    self._take_back(change)
                    time.sleep(random.uniform(0.05, 0.5))
                else:
                    kept.append(change)
        raise BuildahError(
            f"The subordinate ids did not settle in {ATTEMPTS} attempts",
            cause="another program keeps changing /etc/subuid and /etc/subgid, or usermod has no effect there",
            remedy="look for such a program and run this again")

    def _take_back(self, change: Change) -> None:
        undo = change.undo_additions()
        try:
            self.commands.append(self.shadow.write(undo, time.monotonic() + UNDO_TIMEOUT))
        except CommandError as error:
            # usermod(8) adds ranges to somebody who has a process, and takes none away.
            raise BuildahError(
                f"{change.name} and another user were given the same subordinate ids at the same time",
                cause=f"usermod does not take them back: {error.cause}",
                remedy=f"{self.shadow.how_to_end(change.name)}, call {shlex.join(error.argv)}, and run this again",
                finding="subid_shared") from error

    def _ask_oracle(self, changes: Sequence[Change]) -> None:
        if not self.shadow.has_getsubids():
            return
        for change in changes:
            for groups, added, removed in ((False, change.add_uids, change.del_uids),
                                           (True, change.add_gids, change.del_gids)):
                if not (added or removed):
                    continue
                answer = self.shadow.ranges(change.name, groups)
                if set(added) - set(answer) or set(removed) & set(answer):
                    raise BuildahError(f"getsubids disagrees with the tables about {change.name}",
                                       cause=f"it answers {' '.join(map(str, answer)) or 'nothing'}")

    def _result(self, service: str, before: Host, now: Host) -> dict[str, Any]:
        users = [self._user(wish, service, before, now) for wish in self.wishes]
        problems = find_problems(now)
        for problem in problems:
            if problem.kind == "malformed" or set(problem.owners) & set(self.accounts):
                self.warn(problem.message)
        return {
            "changed": (before.subuid, before.subgid) != (now.subuid, now.subgid),
            "users": users,
            "source": "files" if service == "files" else "nss",
            "service": service,
            "migrate_required": any(user["migrate_required"] for user in users),
            "problems": [{"kind": problem.kind, "path": problem.path, "line": problem.line,
                          "message": printable(problem.message)} for problem in problems],
            "commands": self.commands,
            "diff": [{"before": printable(old.text), "after": printable(new.text),
                      "before_header": old.path, "after_header": new.path}
                     for old, new in ((before.subuid, now.subuid), (before.subgid, now.subgid)) if old != new],
        }

    def _user(self, wish: Wish, service: str, before: Host, now: Host) -> dict[str, Any]:
        account = self.accounts[wish.name]
        if service == "files":
            old, new = (host.owned(wish.name, self.uids.get(wish.name)) for host in (before, now))
        else:
            old = new = (self.shadow.ranges(wish.name), self.shadow.ranges(wish.name, groups=True))
        probed = bool(self.wants_probe and wish.present and account and not (self.check_mode and old != new))
        if probed and account:
            self._ask_oracle([Change(wish.name, *new)])
            self.shadow.probe(account, *new)
        return {
            "name": wish.name,
            "uid": self.uids.get(wish.name),
            "subuid": as_dicts(new[0]),
            "subgid": as_dicts(new[1]),
            "added": both(*(set(mine) - set(theirs) for mine, theirs in zip(new, old))),
            "removed": both(*(set(theirs) - set(mine) for mine, theirs in zip(new, old))),
            "migrate_required": self._migration_due(account, old != new, *new),
            "probed": probed,
        }

    def _migration_due(
        self, account: Any, changed: bool, uids: Sequence[IdRange], gids: Sequence[IdRange]
    ) -> bool:
        if account is None:
            return False
        if changed and (self.shadow.pause_process(account) is not None or self.shadow.has_store(account)):
            return True
        return self.shadow.pause_is_stale(account, uids, gids)


def wishes_of(params: dict[str, Any]) -> list[Wish]:
    """Return what the options ask for; what a user leaves open is taken from the options beside."""
    users = params["users"] if params["name"] is None else [{"name": params["name"], "start": params["start"]}]
    return [
        Wish(
            name=user["name"],
            present=(user.get("state") or params["state"]) == "present",
            count=params["count"] if user.get("count") is None else user["count"],
            start=user.get("start"),
            align=params["align"] if user.get("align") is None else user["align"],
        )
        for user in users
    ]


def settled(host: Host, changes: Sequence[Change]) -> Host:
    """Return the host after all changes."""
    for change in changes:
        host = after(host, change)
    return host


def as_dicts(ranges: Sequence[IdRange]) -> list[dict[str, int]]:
    """Return ranges as a result shows them."""
    return [{"start": item.start, "count": item.count} for item in ranges]


def both(uids: set[IdRange], gids: set[IdRange]) -> dict[str, list[dict[str, int]]]:
    """Return the ranges of both kinds as a result shows them."""
    return {"subuid": as_dicts(sorted(uids)), "subgid": as_dicts(sorted(gids))}


def printable(text: str) -> str:
    """Return a text that JSON can carry: bytes that are no UTF-8 become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def main() -> None:
    """Run as an Ansible module."""
    user_options = {
        "name": {"type": "str", "required": True, "aliases": ["user"]},
        "count": {"type": "int"},
        "start": {"type": "int"},
        "align": {"type": "int"},
        "state": {"type": "str", "choices": ["present", "absent"]},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "aliases": ["user"]},
            "users": {"type": "list", "elements": "dict", "options": user_options},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "count": {"type": "int", "default": 65536},
            "start": {"type": "int"},
            "align": {"type": "int", "default": 1},
            "reserved": {
                "type": "list", "elements": "dict", "default": [],
                "options": {"start": {"type": "int", "required": True}, "count": {"type": "int", "required": True}},
            },
            "lock_timeout": {"type": "int", "default": 60},
            "probe": {"type": "bool", "default": False},
        },
        required_one_of=[("name", "users")],
        mutually_exclusive=[("name", "users"), ("users", "start")],
        supports_check_mode=True,
    )
    run = Run(module.params, module.check_mode, module.warn, Shadow())
    try:
        result = run()
    except (BuildahError, OSError) as error:
        # What was done for other users before the failure stays, and is told.
        done = [] if module.check_mode else run.commands
        fail(module, error, OF_ROOT, changed=bool(done), commands=done)
    for path in run.shadow.created:
        module.set_default_selinux_context(path, False)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
