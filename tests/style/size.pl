#!/usr/bin/env perl
# SPDX-License-Identifier: BSD-3-Clause
# Prints every line over 80 columns, file over 600 lines and function over 70
# lines in the files named. The tree is formatted, so a function's body is
# what stands between "{" and "}" in the first column.
use strict;
use warnings;

my $bad = 0;
for my $file (@ARGV) {
    open(my $in, '<:encoding(UTF-8)', $file) or die "$file: $!\n";
    my ($start, $name) = (0, '');
    my $prev = '';
    while (my $line = <$in>) {
        chomp $line;
        (my $wide = $line) =~ s/\t/' ' x (8 - length($`) % 8)/ge;
        if (length($wide) > 80) {
            print "$file:$.: ", length($wide), " columns\n";
            $bad++;
        }
        if ($file =~ /\.[ch]$/) {
            if ($line =~ /^\{/) {
                ($start, $name) = ($., $prev);
            } elsif ($line =~ /^\}/ && $start) {
                my $body = $. - $start - 1;
                if ($body > 70) {
                    print "$file:$start: a function of $body lines: $name\n";
                    $bad++;
                }
                $start = 0;
            }
            # The line with the name, not a continued parameter list.
            $prev = $line if $line =~ /^\w/;
        }
    }
    if ($file =~ /\.[ch]$/ && $. > 600) {
        print "$file: $. lines\n";
        $bad++;
    }
    close($in);
}
exit($bad ? 1 : 0);
