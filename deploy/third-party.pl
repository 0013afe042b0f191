#!/usr/bin/perl
# cargo metadata | third-party.pl SBOM FONTS WORDS: every crate of the SBOM with its licence's texts, each text once.
# Ends with 1 where a crate says neither a licence nor has a text.
use strict;
use warnings;
use JSON::PP;

my ($sbom, $fonts, $words) = @ARGV;
my $read = sub {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path can't be read: $!\n";
    local $/;
    my $text = <$file>;
    $text =~ s/\r\n/\n/g;
    $text =~ s/\s+\z/\n/;
    return $text;
};

my $metadata = decode_json(do { local $/; <STDIN> });
my %crate = map { ($_->{id} => $_) } @{ $metadata->{packages} };
my (%users, @silent);
for my $part (@{ decode_json($read->($sbom))->{components} }) {
    my $crate = $crate{ $part->{'bom-ref'} } or die "$part->{'bom-ref'} is not among cargo's packages\n";
    my $name = "$crate->{name} $crate->{version}";
    my ($folder) = $crate->{manifest_path} =~ m{^(.*)/};
    my @texts = map { $read->($_) }
        sort grep { -f && m{/(un)?(licen[cs]e|copying|copyright|notice)[^/]*\z}i && !/\.(rs|html|spdx)\z/ } glob "$folder/*";
    push @{ $users{$_} }, $name for @texts;
    push @silent, "$name: " . ($crate->{license} // die "$name has no licence\n") unless @texts;
}
for my $font (sort glob "$fonts/*.licence.txt") {
    my ($name) = $font =~ m{([^/]+)\.licence\.txt\z};
    push @{ $users{ $read->($font) } }, "font $name";
}
push @{ $users{ $read->($words) } }, 'lists of words';

print "Licences of what is linked into Cadre. cadre.cdx.json names each crate's own.\n";
for my $text (sort { $users{$a}[0] cmp $users{$b}[0] or $a cmp $b } keys %users) {
    my %once = map { ($_ => 1) } @{ $users{$text} };
    print "\n", '=' x 100, "\n", join(', ', sort keys %once), "\n", '-' x 100, "\n", $text;
}
print "\n", '=' x 100, "\nWithout a text of their own in the package that they are distributed as:\n";
print "$_\n" for sort @silent;
