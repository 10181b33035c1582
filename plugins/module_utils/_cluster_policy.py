# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use the node profiles: a ValidatingAdmissionPolicy. Pure.

A Localhost profile that is loaded on a node can be named by every pod that Pod Security admits. These profiles allow
mount and user namespaces, which is harmless only where root of the pod is nobody on the node, or where somebody decided
otherwise for a namespace.

Source: Kubernetes, ValidatingAdmissionPolicy (admissionregistration.k8s.io/v1) and the API's validation of profiles.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.rootless.buildah.plugins.module_utils._kube_manifest import APPARMOR_PROFILE, SECCOMP_PROFILE

#: Labels of namespaces: their pods may use the profiles; and without a user namespace of the pod's own.
BUILDS, ALLOW_B = "rootless.buildah/builds", "rootless.buildah/allow-profile-b"
NAME = "rootless-buildah-profiles"

# The kubelet cleans the path, and "./rootless-build.json" is the same file.
_SECCOMP = r"^[./]*rootless-build[.]json[./]*$"
# Also in a stack ("a//&rootless-build") and in a namespace of policies (":ns:rootless-build"), see apparmor.d(5).
_APPARMOR = "(^|[^A-Za-z0-9_.-])rootless-build([^A-Za-z0-9_.-]|$)"
_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def profile_policy() -> list[dict[str, Any]]:
    """Return the policy and its binding, which holds in all namespaces."""
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            # What a pod may do is settled when it is created; later only ephemeral containers come. Updates of pods are
            # left alone, for controllers must reach pods of namespaces that lost their label, too.
            "resourceRules": [
                _rule("pods", "CREATE"),
                _rule("pods/ephemeralcontainers", "UPDATE"),
            ]
        },
        "variables": [
            {"name": "named", "expression": _named()},
            {"name": "builds", "expression": _labelled(BUILDS)},
            {"name": "allowsB", "expression": _labelled(ALLOW_B)},
            {"name": "ownUsers", "expression": "!object.spec.?hostUsers.orValue(true)"},
        ],
        "validations": [
            {
                "expression": "!variables.named || variables.builds",
                "reason": "Forbidden",
                "message": f"the profiles of builds are for namespaces with the label {BUILDS}=true",
                "messageExpression": _text(
                    f"the seccomp profile {SECCOMP_PROFILE} and the AppArmor profile {APPARMOR_PROFILE} are for "
                    f"namespaces with the label {BUILDS}=true, and {{}} has not; remedy: the role cluster_builder"
                ),
            },
            {
                "expression": "!variables.named || !variables.builds || variables.ownUsers || variables.allowsB",
                "reason": "Forbidden",
                "message": f"without {ALLOW_B}=true the profiles of builds are for pods with hostUsers: false",
                "messageExpression": _text(
                    f"namespace {{}} allows the profiles of builds to pods with hostUsers: false only (profile A); "
                    f"remedy: hostUsers: false, or cluster_builder_allow_profile_b, which sets the label {ALLOW_B}=true"
                ),
            },
        ],
    }
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": NAME},
            "spec": spec,
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": NAME},
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        },
    ]


def _rule(resource: str, operation: str) -> dict[str, Any]:
    return {"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": [resource]}


def _labelled(label: str) -> str:
    return f"namespaceObject.metadata.?labels[?'{label}'].orValue('') == 'true'"


def _text(template: str) -> str:
    """Return an expression (CEL) for a text with the namespace's name in the place of braces."""
    before, after = template.split("{}")
    return f"{before!r} + namespaceObject.metadata.name + {after!r}"


def _named() -> str:
    """Return the expression (CEL) that says whether a pod names one of the profiles anywhere."""
    places = [_security("object.spec")]
    for containers in ("containers", "initContainers", "ephemeralContainers"):
        places.append(f"object.spec.?{containers}.orValue([]).exists(c, {_security('c')})")
    # The API server turns these annotations into fields where it still knows them (1.30); whatever it does not turn
    # must not get through.
    places.append(
        "object.metadata.?annotations.orValue({}).exists(k, "
        f"k.startsWith('{_ANNOTATION}') && object.metadata.annotations[k].matches(r'{_APPARMOR}'))"
    )
    return " || ".join(places)


def _security(owner: str) -> str:
    seccomp, apparmor = (
        f"{owner}.?securityContext.?{kind}.?localhostProfile.orValue('').matches(r'{pattern}')"
        for kind, pattern in (("seccompProfile", _SECCOMP), ("appArmorProfile", _APPARMOR))
    )
    return f"{seccomp} || {apparmor}"
