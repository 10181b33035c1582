# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to a Kubernetes API server. Objects are what the server makes of them, whatever the client's release."""

from __future__ import annotations

import json
import traceback
from typing import Any, Mapping, Optional

from ansible_collections.rootless.buildah.plugins.module_utils._errors import BuildahError

try:
    import kubernetes
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.dynamic import DynamicClient
    from urllib3.exceptions import HTTPError

    IMPORT_ERROR: Optional[str] = None
except ImportError:  # told by the module
    IMPORT_ERROR = traceback.format_exc()

Object = dict[str, Any]
_SECONDS = 30  # for one answer


class KubernetesError(BuildahError):
    """The API server refused, or did not answer.

    :param status: its HTTP status; 0 without an answer.
    :param reason: its word for it, for example ``NotFound`` (meta/v1, StatusReason).
    """

    def __init__(
        self, message: str, cause: str, remedy: str = "", status: int = 0, reason: str = "", finding: str = ""
    ) -> None:
        super().__init__(message, cause, remedy, finding)
        self.status = status
        self.reason = reason


class Cluster:
    """Talks to the API server of a namespace.

    :param kubeconfig: the path of a kubeconfig file; None: KUBECONFIG, ``~/.kube/config``, or the pod's own account.
    :param context: the context in it; None: its current one.
    :param namespace: None: the context's own.
    :raises KubernetesError: when there is no usable configuration.
    """

    def __init__(self, kubeconfig: Optional[str], context: Optional[str], namespace: Optional[str]) -> None:
        configuration = kubernetes.client.Configuration()
        own = "default"
        try:
            kubernetes.config.load_kube_config(
                config_file=kubeconfig, context=context, client_configuration=configuration
            )
            contexts, active = kubernetes.config.list_kube_config_contexts(config_file=kubeconfig)
            chosen = next((one for one in contexts if one["name"] == context), active)
            own = chosen["context"].get("namespace", own)
        except ConfigException as error:
            if kubeconfig or context:
                raise self._unconfigured(error) from error
            try:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
            except ConfigException:
                raise self._unconfigured(error) from error
        # Of the client's own calls only these are the same in all of its releases; nothing needs to be discovered.
        self._client: Any = DynamicClient(kubernetes.client.ApiClient(configuration), discoverer=lambda *_: None)
        self.host = str(configuration.host)
        self.namespace = namespace or own

    @staticmethod
    def _unconfigured(error: Exception) -> KubernetesError:
        return KubernetesError(
            "the cluster cannot be reached",
            str(error),
            "Name a kubeconfig file with kubeconfig, and context if it has several",
        )

    def version(self) -> tuple[int, int]:
        """Return the release of the API server."""
        found = self._call("GET", "/version")
        return int(found["major"]), int("".join(filter(str.isdigit, found["minor"])))

    def get(self, kind: str, name: str) -> Optional[Object]:
        """Return an object of the namespace, or None when there is none of that name.

        :param kind: the plural of the resource, for example ``jobs``.
        """
        try:
            return self._call("GET", f"{self._place(kind)}/{name}")
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def find(self, kind: str, **selectors: str) -> list[Object]:
        """Return the objects of a kind that match.

        :param selectors: ``labelSelector`` and ``fieldSelector``.
        """
        return list(self._call("GET", self._place(kind), query=selectors)["items"])

    def nodes(self) -> Optional[list[Object]]:
        """Return the nodes, or None for who may not ask for them."""
        try:
            return list(self._call("GET", "/api/v1/nodes")["items"])
        except KubernetesError as error:
            if error.status == 403:
                return None
            raise

    def create(self, made: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Create an object and return it as the server has it, or would have it."""
        kinds = {"Job": "jobs", "Pod": "pods", "Secret": "secrets", "ConfigMap": "configmaps"}
        query = {"dryRun": "All"} if dry_run else {}
        return self._call("POST", self._place(kinds[made["kind"]]), body=made, query=query)

    def resume(self, name: str) -> None:
        """Let a suspended Job begin."""
        self._call(
            "PATCH",
            f"{self._place('jobs')}/{name}",
            body={"spec": {"suspend": False}},
            kind="application/merge-patch+json",
        )

    def delete_job(self, name: str, uid: str) -> None:
        """Delete a Job with everything that it owns; one that is gone or another by now is left alone."""
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        try:
            self._call("DELETE", f"{self._place('jobs')}/{name}", body=options)
        except KubernetesError as error:
            if error.status not in (404, 409):
                raise

    def log(self, pod: str, container: str) -> str:
        """Return what a container printed, with the time before each line; empty before it has started."""
        path = f"{self._place('pods')}/{pod}/log"
        try:
            return self._text("GET", path, query={"container": container, "timestamps": "true"})
        except KubernetesError as error:
            if error.status in (400, 404):
                return ""
            raise

    def _place(self, kind: str) -> str:
        group = {"jobs": "/apis/batch/v1"}.get(kind, "/api/v1")
        return f"{group}/namespaces/{self.namespace}/{kind}"

    def _call(self, method: str, path: str, **more: Any) -> Object:
        return dict(json.loads(self._text(method, path, **more)))

    def _text(
        self, method: str, path: str, *, body: Optional[Mapping[str, Any]] = None,
        query: Optional[Mapping[str, str]] = None, kind: str = "application/json",
    ) -> str:  # fmt: skip
        try:
            answer = self._client.request(
                method,
                path,
                body=body,
                query_params=list((query or {}).items()),
                content_type=kind,
                header_params={"Accept": "application/json, */*"},
                serialize=False,
                _request_timeout=_SECONDS,
            )
            return bytes(answer.data or b"").decode("utf-8", "replace")
        except ApiException as error:
            raise _explained(error, f"{method} {path}", self.host) from error
        except HTTPError as error:
            last = str(error.args[0] if error.args else error)
            raise KubernetesError(
                f"the API server {self.host} does not answer",
                last,
                "Check that it runs, and that kubeconfig and context name it",
            ) from error


def _explained(error: Any, call: str, host: str) -> KubernetesError:
    """Return a refusal of the API server (meta/v1, Status) with its own words."""
    try:
        status = json.loads(error.body)
        cause, reason = str(status.get("message")), str(status.get("reason", ""))
    except (ValueError, TypeError, AttributeError):
        cause, reason = str(error.reason or error.body), ""
    remedies = {
        401: "Check the login that kubeconfig and context name",
        403: "Grant the right in the namespace; examples/cluster/rights.yml has what builds need",
        404: "Check namespace, and that the cluster has this kind of objects",
    }
    return KubernetesError(
        f"the API server {host} refuses {call}", cause, remedies.get(error.status, ""), int(error.status or 0), reason
    )
