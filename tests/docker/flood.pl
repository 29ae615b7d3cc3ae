#!/usr/bin/env perl
# SPDX-License-Identifier: BSD-3-Clause
# flood.pl SOCKET WHAT [N]: connections to a unix socket that no engine would
# make. Prints what came back; dies when it is not as it must be.
#   many N     N connections at a time, each asks, all are answered, twice
#   half N     N connections that send half of a request, and stay
#   bytes      garbage of all kinds, each on a connection of its own
#   idle N     one connection, asks, is silent for N seconds, asks again
#   pipeline   two requests and a half in one write, then the other half
use strict;
use warnings;
use IO::Socket::UNIX;

my ($path, $what, $n) = @ARGV;
$SIG{PIPE} = 'IGNORE';

sub dial {
    for my $try (1 .. 200) {
        my $s = IO::Socket::UNIX->new(Peer => $path);
        return $s if $s;
        select undef, undef, undef, 0.02;
    }
    die "cannot connect: $!\n";
}

sub request {
    my ($method, $body) = @_;
    return "POST /$method HTTP/1.1\r\nHost: plugin.moby.localhost\r\n" .
        "Content-Length: " . length($body) . "\r\n\r\n$body";
}

# One answer with a Content-Length; '' when the connection ends before.
sub answer {
    my ($s) = @_;
    local $SIG{ALRM} = sub { die "no answer within 60 s\n" };
    alarm 60;
    my $head = '';
    while ($head !~ /\r\n\r\n/) {
        sysread($s, my $c, 1) or return '';
        $head .= $c;
    }
    my ($len) = $head =~ /content-length: *(\d+)/i or die "no length: $head";
    my $body = '';
    while (length $body < $len) {
        sysread($s, $body, $len - length $body, length $body) or last;
    }
    alarm 0;
    return "$head$body";
}

sub ask {
    my ($s, $method, $body) = @_;
    syswrite($s, request($method, $body)) or return '';
    return answer($s);
}

sub must {
    my ($text, $pattern) = @_;
    $text =~ $pattern or die "not $pattern: $text\n";
}

if ($what eq 'many') {
    my @all = map { dial() } 1 .. $n;
    for my $round (1, 2) {
        syswrite $_, request('VolumeDriver.Get', '{"Name":"v00000"}') for @all;
        must(answer($_), qr/^HTTP\/1.1 200 .*"Volume"/s) for @all;
    }
    print "$n connections, each answered twice\n";
} elsif ($what eq 'half') {
    my $whole = request('VolumeDriver.List', '{}');
    my @all;
    for my $i (1 .. $n) {
        my $s = dial();
        syswrite $s, substr($whole, 0, 1 + $i % (length($whole) - 1));
        push @all, $s;
    }
    must(ask(dial(), 'VolumeDriver.Capabilities', '{}'), qr/ 200 /);
    print "$n halves, and one whole\n";
} elsif ($what eq 'bytes') {
    my $long = 'x' x 100000;
    for my $junk ("\0" x 5000, "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n\r\n",
        "POST\r\n\r\n", "\x16\x03\x01\x02", $long,
        "POST /$long HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\n" .
            "Content-Length: -1\r\n\r\n{}",
        "POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\n" .
            "Content-Length: 99999999999999999999999\r\n\r\n{}",
        "POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\n" .
            "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /VolumeDriver.List HTTP/9.9\r\nHost: x\r\n\r\n") {
        my $s = dial();
        syswrite $s, $junk;
        shutdown $s, 1;
        eval { answer($s) };
        must(ask(dial(), 'VolumeDriver.Capabilities', '{}'), qr/ 200 /);
    }
    print "garbage, and an answer after each\n";
} elsif ($what eq 'idle') {
    my $s = dial();
    must(ask($s, 'VolumeDriver.Capabilities', '{}'), qr/ 200 /);
    sleep $n;
    must(ask($s, 'VolumeDriver.Capabilities', '{}'), qr/ 200 /);
    print "still there after $n s\n";
} elsif ($what eq 'pipeline') {
    my $s = dial();
    my $third = request('VolumeDriver.Capabilities', '{}');
    syswrite $s, request('Plugin.Activate', '') .
        request('VolumeDriver.List', '{}') . substr($third, 0, 60);
    must(answer($s), qr/ 200 .*Implements/s);
    must(answer($s), qr/ 200 .*Volumes/s);
    select undef, undef, undef, 0.3;
    syswrite $s, substr($third, 60);
    must(answer($s), qr/ 200 .*global/s);
    print "three answers to two writes\n";
} else {
    die "usage: flood.pl SOCKET many|half|bytes|idle|pipeline [N]\n";
}
