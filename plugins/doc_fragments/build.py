# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the build options: one text for every module that takes them."""

from __future__ import annotations

import textwrap

_IMAGE = r"""
name:
  description:
    - Name of the image, optionally with registry and tag, for example V(registry.example.com/team/app:1.0).
    - The image gets this name in the local store. A name without registry is kept there as V(localhost/NAME).
  type: str
  required: true
tag:
  description:
    - Tag of the image, when O(name) holds none. V(latest) when neither does.
  type: str
state:
  description:
    - V(present) builds and pushes what is not there as wanted.
    - V(absent) takes the name from the local image. Registries are never touched.
  type: str
  choices: [present, absent]
  default: present
path:
  description:
    - Directory that is the build context, on the host that builds.
    - Files that C(.containerignore) or C(.dockerignore) list are neither sent nor part of the build key.
    - For a native script it is the working directory.
  type: path
containerfile:
  description:
    - Path of the Containerfile, relative to O(path). C(Containerfile) or C(Dockerfile) when not given.
  type: path
  aliases: [dockerfile, file]
containerfile_content:
  description:
    - Text of the Containerfile. It is never written into the build context.
  type: str
script:
  description:
    - Text of a native script, run under C(buildah unshare). It calls buildah and commits to C($IMAGE).
    - The script gets O(args) and O(base_images) as variables, C($PLATFORM), and C($ARTIFACTS), a directory for
      files to export. Without a C(#!) line it runs in C(/bin/sh -e).
    - The script starts from C(scratch), its O(base_images) and what it committed itself. It cannot call C(buildah
      build),
      C(pull) or C(push).
  type: str
script_file:
  description:
    - Path of a native script on the host that builds, instead of O(script).
  type: path
base_images:
  description:
    - Base images of a native script, names by variable. The variables hold the names pinned to a digest.
  type: dict
target:
  description:
    - Stage of the Containerfile to build. The last one when not given.
  type: str
args:
  description:
    - Build arguments. Only those that an C(ARG) of a needed stage declares are part of the build key.
    - They are public, kept in the image's history and in the build record. Use O(secrets) for what is not.
  type: dict
labels:
  description:
    - Labels of the image.
  type: dict
annotations:
  description:
    - Annotations of the image's manifest, for O(format=oci).
  type: dict
env:
  description:
    - Environment variables set in the image.
  type: dict
platform:
  description:
    - Platforms to build for, for example V(linux/arm64). The host's own when not given.
    - More than one gives an index; every platform has a build key of its own. RUN steps for other processors need
      emulation (binfmt_misc) on the host.
  type: list
  elements: str
build_contexts:
  description:
    - Further named contexts, a directory (relative to O(path)), C(docker-image://NAME) or a URL by name.
    - A directory is hashed, an image pinned to its digest. A URL cannot be covered by the build key and is reported
      in RV(uncovered).
  type: dict
secrets:
  description:
    - Secrets for C(RUN --mount=type=secret). Every RUN step of the build can read all of them.
    - Ids and versions are part of the build key, values never are.
  type: list
  elements: dict
  suboptions:
    id:
      description:
        - Name that the Containerfile uses.
      type: str
      required: true
    src:
      description:
        - File on the building host that holds the secret.
      type: path
    env:
      description:
        - Environment variable of the module's process that holds the secret.
        - The keyword C(environment) of a task puts its values on command lines, where every user of the host and
          the output with C(-vvv) show them. Let the become method hand a variable on instead, or use
          O(secrets[].src) or O(secrets[].value).
      type: str
    value:
      description:
        - The secret itself.
      type: str
    version:
      description:
        - Change it when a new value of the secret shall lead to a new image.
      type: str
ssh:
  description:
    - SSH agent sockets or keys for C(RUN --mount=type=ssh), C(default) or C(ID=PATH).
  type: list
  elements: str
format:
  description:
    - Format of the image's manifest and configuration.
  type: str
  choices: [oci, docker]
  default: oci
squash:
  description:
    - Whether to put all new layers into one.
  type: bool
  default: false
timestamp:
  description:
    - Creation time of the image and of all files in its layers, in seconds since the epoch.
  type: int
source_date_epoch:
  description:
    - Creation time of the image, in seconds since the epoch. Needs buildah 1.41.
  type: int
rewrite_timestamp:
  description:
    - Whether no file in a new layer may be younger than O(source_date_epoch). Needs buildah 1.41.
  type: bool
  default: false
volumes:
  description:
    - Directories of the host to mount in RUN steps, C(HOST:CONTAINER[:OPTIONS]).
    - Their contents are not covered by the build key and reported in RV(uncovered).
  type: list
  elements: str
refresh:
  description:
    - Build anew after this time, a number and C(h), C(d) or C(w), although nothing changed that can be seen, without
      the layer cache.
    - Brings in updates of packages. The moment is shifted by the image's name and equal on all builders.
  type: str
extra_build_args:
  description:
    - Further flags for C(buildah build). They are part of the build key.
  type: list
  elements: str
pull:
  description:
    - How base images are found. V(newer) and V(always) ask the registry, V(missing) does for what is not in the local
      store,
      V(never) does not.
    - With O(push), V(missing) and V(never) want bases pinned by digest, or two builders would overwrite each other
      for ever.
  type: str
  choices: [newer, missing, always, never]
  default: newer
nocache:
  description:
    - Whether a build goes around the layer cache. It does not cause a build.
  type: bool
  default: false
layers:
  description:
    - Whether intermediate layers are kept as a cache.
    - A build goes around the cache and adds nothing to it where its options are not compared there. These are
      O(volumes), O(extra_build_args) and O(source_date_epoch), O(env) before buildah 1.29, and O(annotations) and
      O(timestamp) before 1.41.
  type: bool
  default: true
cache_from:
  description:
    - Repositories to read cached layers from. Not together with options that the cache does not compare, see
      O(layers).
  type: list
  elements: str
cache_to:
  description:
    - Repositories to write cached layers to.
  type: list
  elements: str
cache_ttl:
  description:
    - Age beyond which cached layers are not used, for example V(24h).
  type: str
cache_auth_file:
  description:
    - Credentials for O(cache_from) and O(cache_to). They are used while RUN steps execute and can be read by them.
      Give them rights to the cache only.
  type: path
network:
  description:
    - Network of RUN steps. V(none) cuts them off under every isolation. Other values are handed to buildah.
  type: str
isolation:
  description:
    - Isolation of RUN steps. Chosen by what the host can do when not given.
    - V(chroot) is no boundary. A RUN step can leave its root and read the builder user's files, though none of the
      credentials listed in the guide on security.
  type: str
  choices: [oci, rootless, chroot]
ulimits:
  description:
    - Limits of RUN steps, C(TYPE=SOFT[:HARD]).
  type: list
  elements: str
memory:
  description:
    - Memory limit of RUN steps, for example V(512m). Not enforced under V(chroot) isolation.
  type: str
cpu_shares:
  description:
    - Relative weight of RUN steps. Not enforced under V(chroot) isolation.
  type: int
cpu_period:
  description:
    - Period of the completely fair scheduler for RUN steps in microseconds. Not enforced under V(chroot) isolation.
  type: int
cpu_quota:
  description:
    - Processor time of RUN steps within O(cpu_period) in microseconds. Not enforced under V(chroot) isolation.
  type: int
cpuset_cpus:
  description:
    - Processors that RUN steps may use, for example V(0-3). Not enforced under V(chroot) isolation.
  type: str
retries:
  description:
    - How often a failing contact with a registry is repeated.
  type: int
  default: 3
retry_delay:
  description:
    - Pause between such repetitions.
  type: str
  default: 2s
storage:
  description:
    - The image store to use. What the role C(builder) chose for the builder user when neither O(storage.strategy) nor
      O(storage.graphroot) is given, otherwise the builder user's own.
  type: dict
  suboptions:
    strategy:
      description:
        - V(host) is one store for all builds of the builder user, V(project) one for each O(storage.project).
        - V(isolated) is a fresh store for this build, removed when it ends. No image, no layer cache and no base stays;
          so it wants O(push), O(outputs) or O(artifacts). The build record at the registry, or the exports, still tell
          that nothing changed.
      type: str
      choices: [host, project, isolated]
    project:
      description:
        - Whose store it is with O(storage.strategy=project). Ignored by the other strategies.
      type: str
    driver:
      description:
        - Storage driver. V(overlay) when not given.
      type: str
    graphroot:
      description:
        - Directory of the store. With O(storage.strategy=project) and O(storage.strategy=isolated) the directory below
          which the stores are made, C(~/.local/share/containers/stores) when not given.
      type: path
    runroot:
      description:
        - Directory of the store's run-time state; only together with O(storage.graphroot), and
          only with O(storage.strategy=host).
      type: path
    additional_stores:
      description:
        - Read-only stores to look into besides, with any strategy.
      type: list
      elements: path
force:
  description:
    - Whether to build although nothing changed. The task is changed only if the result differs.
  type: bool
  default: false
allow_root:
  description:
    - Whether the task may run as root. Root of a pod that has a user namespace is nobody on its node, and always may.
  type: bool
  default: false
lock_timeout:
  description:
    - How long to wait for another run that builds the same image on this host, in seconds.
  type: int
  default: 3600
load:
  description:
    - Whether an image that is found at the registry is fetched into the local store. Only with O(push).
  type: bool
  default: false
outputs:
  description:
    - Exports of the image.
  type: list
  elements: dict
  suboptions:
    type:
      description:
        - V(local) writes the root file system into a directory, V(tar) into an archive. The others are formats of
          whole images.
      type: str
      choices: [local, tar, oci, oci-archive, docker-archive]
      required: true
    dest:
      description:
        - File or directory to write.
      type: path
      required: true
artifacts:
  description:
    - Directory that receives what a native script puts into C($ARTIFACTS). A missing or altered file is a reason to
      build.
  type: path
push:
  description:
    - Whether to push. Then the registry is the truth. An image that is there as wanted is not built, on any builder.
  type: bool
  default: false
destinations:
  description:
    - Names to push to. O(name) when not given.
  type: list
  elements: str
compression_format:
  description:
    - Compression of the layers at the destinations.
  type: str
  choices: [gzip, zstd]
compression_level:
  description:
    - Level of the compression of what is pushed.
  type: int
sign_by:
  description:
    - Fingerprint of the GPG key that signs image and record. An unsigned image that is there already is signed, not
      built.
  type: str
trust:
  description:
    - Whose build records count, V(any) that whoever may push there wrote, or only those with a V(signed) record that
      O(trust_policy) accepts.
  type: str
  choices: [any, signed]
  default: any
trust_policy:
  description:
    - A containers-policy.json(5) file, for O(trust=signed).
  type: path
extra_push_args:
  description:
    - Further flags for C(buildah push), in a cluster for C(skopeo copy). They are not part of the build key.
  type: list
  elements: str
"""

_REGISTRY = r"""
registry_auth_file:
  description:
    - A containers-auth.json(5) file for base images and destinations. The builder user's own when not given.
      It is out of sight while RUN steps execute.
  type: path
registry_username:
  description:
    - User name for the registries of O(name) and O(destinations), and for no others; log in to a base image's registry
      with O(registry_auth_file).
  type: str
registry_password:
  description:
    - Password of O(registry_username).
  type: str
registry_ca_dir:
  description:
    - Directory of certificates of the registries, as containers-certs.d(5) describes it.
  type: path
registry_validate_certs:
  description:
    - Whether registries must speak TLS with a valid certificate. Left to registries.conf when not given.
  type: bool
"""


def _options(text: str, depth: int) -> str:
    return textwrap.indent(text.strip("\n"), "  " * depth)


_REQUIREMENTS = r"""
requirements:
  - buildah >= 1.28
  - skopeo >= 1.9
  - python >= 3.9
"""

_DOCUMENTATION = "options:\n" + _options(_IMAGE, 1) + "\n" + _options(_REGISTRY, 1) + _REQUIREMENTS

# The same options once for each image of a list.
_IMAGES = (
    r"""
options:
  images:
    description:
      - The images, each with the options of M(rootless.buildah.buildah_build).
    type: list
    elements: dict
    required: true
    suboptions:
"""
    + _options(_IMAGE + _REGISTRY, 3).replace(" O(", " O(images[].").replace("RV(", "V(")
    + _REQUIREMENTS
)


class ModuleDocFragment:
    """Fragments that the build modules extend."""


# Not written into the class: ansible-test takes only literals there, and these two share their text.
for _name, _text in {"DOCUMENTATION": _DOCUMENTATION, "IMAGES": _IMAGES}.items():
    setattr(ModuleDocFragment, _name, _text)
