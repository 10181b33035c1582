# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind the module managed_packages: query, one transaction, a note of what came or could not go.

A run may be cut off in the transaction, which comes to its end all the same. So what was there is noted before it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.rootless.buildah.plugins.module_utils._packages import (
    PROVIDERS,
    QUERIES,
    TRIALS,
    Note,
    brought,
    dnf_command,
    installed,
    missing,
    needed,
)
from ansible_collections.rootless.buildah.plugins.module_utils._way_back import NOTE_KEY, WayBack

KEY = "packages"
# Lists the packages. Ends with a line of the note when the end of a transaction was not seen: a run in which nothing is
# missing needs no other question.
ASK = '"$@" || exit; grep -sF "$MARK" "$NOTE" || :'
MARK = f'"{NOTE_KEY}{KEY}": {{'
ARGUMENTS: dict[str, Any] = {
    "names": {"type": "list", "elements": "str", "default": []},
    "role": {"type": "str", "required": True},
    "install_recommends": {"type": "bool", "default": False},
    "start_services": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


class ActionModule(ActionBase):
    """Runs the built-in modules, which know the package managers; decides only what to ask them for."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        validate: Callable[..., Any] = self.validate_argument_spec
        args: dict[str, Any] = validate(argument_spec=ARGUMENTS)[1]
        result.update(self._result([], args["state"]))
        if args["state"] == "present" and not args["names"]:
            return result
        family = task_vars.get("ansible_facts", {}).get("os_family", "")
        if family not in QUERIES:
            if args["state"] == "absent" and not self._note(args["role"], "read", None, task_vars):
                return result
            raise AnsibleActionFail(
                f"Packages can be installed on the Debian and RHEL families, not on '{family or 'an unknown family'}'. "
                "Gather the fact os_family first, or install them yourself and give empty lists of packages.")
        listing = self._query(family, args["role"], task_vars)
        act = self._present if args["state"] == "present" else self._absent
        return {**result, **act(family, listing, args, task_vars)}

    def _present(self, family: str, listing: str, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        role, packages = args["role"], missing(args["names"], listing)
        result = self._result(packages, "present")
        if self._task.check_mode or not (packages or MARK in listing):
            return result
        outcome: dict[str, Any] = {}
        note = Note.read(self._note(role, "read", None, task_vars))
        came, after = set(note.came), listing
        if packages:
            self._note(role, "replaced", note.opened(packages, listing).value, task_vars)
            outcome = self._transaction(family, packages, args, task_vars)
            if "module_stdout" in outcome:
                # No answer of the module, and the transaction may go on: the next run sees what came.
                return {**result, **outcome}
            # Also after a failure: what came came.
            after = self._query(family, role, task_vars)
            came.update(brought(listing, after))
        came.update(self._unseen(family, note, after, task_vars))
        self._keep(role, sorted(came), task_vars)
        return {**result, **outcome} if outcome.get("failed") else result

    def _absent(self, family: str, listing: str, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        role = args["role"]
        note = Note.read(self._note(role, "read", None, task_vars))
        came = sorted({*note.came, *self._unseen(family, note, listing, task_vars)})
        mine = sorted(set(came) & installed(listing))
        packages = self._removable(family, mine, task_vars)
        kept = sorted(set(mine) - set(packages))
        result = self._result(packages, "absent", kept)
        if kept:
            self._display.warning(
                f"Other packages need {', '.join(kept)} by now, which came with the role {role}: left alone. "
                "Remedy: remove what needs them and run this again, or keep them.")
        if self._task.check_mode:
            return result
        if packages:
            if note.before:
                # Once some are gone nobody can tell any more what they needed.
                self._keep(role, came, task_vars)
            outcome = self._transaction(family, packages, args, task_vars)
            if outcome.get("failed"):
                return {**result, **outcome}
        if kept != note.value:
            self._keep(role, kept, task_vars)
        return result

    def _unseen(self, family: str, note: Note, listing: str, task_vars: dict[str, Any]) -> set[str]:
        """Return what came in a transaction whose end no run saw: what was asked for, and what that needs.

        Not what could go without that, nor what packages need that were there before: others brought it since.
        """
        asked, others = note.new(listing)
        going = self._removable(family, [*asked, *others], task_vars)
        strangers = self._removable(family, others, task_vars)
        return {*asked, *going} - set(strangers)

    def _removable(self, family: str, packages: list[str], task_vars: dict[str, Any]) -> list[str]:
        """Return which packages can go so that nothing else has to."""
        going = packages
        while going:
            # What stays needs others in turn.
            rc, words = self._ask([*TRIALS[family], *going], task_vars)
            if rc == 0:
                break
            staying = set(needed(family, words))
            if family == "RedHat" and staying:
                staying = set(self._ask([*PROVIDERS, *sorted(staying)], task_vars)[1].splitlines())
            if not staying & set(going):
                raise AnsibleActionFail(
                    f"Nobody can tell what else needs the packages that came with a role: {words.strip()} Remedy: "
                    f"remove them yourself, as far as you do not need them: {' '.join(going)}")
            going = [name for name in going if name not in staying]
        return going

    def _ask(self, argv: list[str], task_vars: dict[str, Any]) -> tuple[int | None, str]:
        outcome = self._command(argv, task_vars)
        return outcome.get("rc"), "\n".join(
            str(outcome[name]) for name in ("stdout", "stderr", "msg") if outcome.get(name))

    def _command(self, argv: list[str], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Call a program that changes nothing."""
        args = {"argv": argv, "expand_argument_vars": False}
        return self._module("ansible.builtin.command", args, task_vars, check_mode=False)

    def _query(self, family: str, role: str, task_vars: dict[str, Any]) -> str:
        argv = ["env", f"MARK={MARK}", f"NOTE={WayBack(role).path}", "sh", "-c", ASK, "sh", *QUERIES[family]]
        outcome = self._command(argv, task_vars)
        if outcome.get("rc") != 0:
            words = outcome.get("stderr") or outcome.get("msg")
            raise AnsibleActionFail(f"The package database does not answer: {words}")
        return str(outcome["stdout"])

    def _keep(self, role: str, names: list[str], task_vars: dict[str, Any]) -> None:
        """Note which packages are the role's, in place of what was noted."""
        self._note(role, "replaced" if names else "absent", names or None, task_vars)

    def _note(self, role: str, state: str, value: Any, task_vars: dict[str, Any]) -> Any:
        args = {"role": role, "key": KEY, "state": state, "value": value}
        if value is None:
            del args["value"]
        outcome = self._module("rootless.buildah.managed_note", args, task_vars)
        if outcome.get("failed"):
            raise AnsibleActionFail(f"The note about packages cannot be kept: {outcome.get('msg')}")
        return outcome["notes"].get(KEY)

    def _transaction(self, family: str, packages: list[str], args: dict[str, Any],
                     task_vars: dict[str, Any]) -> dict[str, Any]:
        if family == "RedHat":
            return self._dnf(dnf_command(args["state"], packages, args["install_recommends"]), task_vars)
        module_args: dict[str, Any] = {
            "name": packages, "state": args["state"], "purge": args["state"] == "absent",
            "install_recommends": args["install_recommends"], "update_cache": args["state"] == "present",
        }  # fmt: skip
        if not args["start_services"]:
            module_args["policy_rc_d"] = 101
        return self._module("ansible.builtin.apt", module_args, task_vars)

    def _dnf(self, argv: list[str], task_vars: dict[str, Any]) -> dict[str, Any]:
        outcome = self._module("ansible.builtin.command", {"argv": argv, "expand_argument_vars": False}, task_vars)
        if outcome.get("rc") == 127:
            outcome["msg"] = (
                "This host has no dnf, as RHEL 7 and older. The doctor asks such hosts, the roles do not prepare them.")
        elif outcome.get("failed"):
            words = (outcome.get("stderr") or outcome.get("stdout") or outcome.get("msg") or "").strip()
            outcome["msg"] = f"dnf failed: {words}"
        return outcome

    def _module(self, name: str, args: dict[str, Any], task_vars: dict[str, Any],
                check_mode: bool | None = None) -> dict[str, Any]:
        before = self._task.check_mode
        if check_mode is not None:
            self._task.check_mode = check_mode
        try:
            outcome: dict[str, Any] = self._execute_module(module_name=name, module_args=args, task_vars=task_vars)
        finally:
            self._task.check_mode = before
        return outcome

    @staticmethod
    def _result(packages: list[str], state: str, kept: Iterable[str] = ()) -> dict[str, Any]:
        lines = "".join(f"{name}\n" for name in packages)
        before, after = ("", lines) if state == "present" else (lines, "")
        diff = {"before": before, "after": after, "before_header": "packages", "after_header": "packages"}
        return {"changed": bool(packages), "packages": packages, "kept": [*kept], "diff": diff}
