"""Real text that Debian packages carry, as tokens: four domains, one vocabulary.

Domains (the packages are named in README.md):
  code    the Python standard library's own sources      libpython3.11-stdlib
  perl    Perl's manual pages in POD                      perl-doc
  manual  the Debian Reference                            debian-reference-en
  prose   fortune cookies: jokes, quotations, verse       fortunes

A token is a piece of text: a word with the space before it, a number's digit, a run of blanks or one
other character. The most frequent `vocabulary` - 1 pieces of the corpus are tokens of their own; a
rarer word falls apart into its characters, and a character that is not among them is token 0.
Every choice is by (count, text), so the same packages give the same tokens.
"""

import collections
import glob
import gzip
import re

import numpy

PIECE = re.compile(r" ?[A-Za-z]+|[0-9]| +|\n+|.", re.DOTALL)
DOMAINS = {
    "code": ["/usr/lib/python3.11/*.py", "/usr/lib/python3.11/asyncio/*.py"],
    "perl": ["/usr/share/perl/5.*/pod/*.pod"],
    "manual": ["/usr/share/debian-reference/debian-reference.en.txt.gz"],
    "prose": ["/usr/share/games/fortunes/*"],
}
MOST_CHARACTERS = 1_500_000  # of a domain


def read_domain(patterns, most_characters=MOST_CHARACTERS):
    """The files' text, in the order of their names, cut at `most_characters`."""
    parts, left = [], most_characters
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern)}):
        if path.endswith((".dat", ".u8")):  # indices of fortunes, and links to the same text
            continue
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            text = file.read().decode("utf-8", "replace")[:left]
        parts.append(text)
        left -= len(text)
        if left <= 0:
            break
    return "".join(parts)


def load(vocabulary=2048, most_characters=MOST_CHARACTERS):
    """{domain: int64 tokens [n]}. Raises SystemExit naming the domains whose package is missing."""
    texts = {name: read_domain(patterns, most_characters) for name, patterns in DOMAINS.items()}
    missing = [name for name, text in texts.items() if len(text) < 10_000]
    if missing:
        raise SystemExit(f"no text for {', '.join(missing)}: install libpython3.11-stdlib "
                         "perl-doc debian-reference-en fortunes")
    pieces = {name: PIECE.findall(text) for name, text in texts.items()}
    counts = collections.Counter()
    for words in pieces.values():
        counts.update(words)
    characters = collections.Counter()
    for text, count in counts.items():
        for character in text:
            characters[character] += count
    chosen = sorted(characters, key=lambda c: (-characters[c], c))[: vocabulary // 8]
    kept = set(chosen)
    for text, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if len(kept) >= vocabulary - 1:
            break
        kept.add(text)
    number = {text: i + 1 for i, text in enumerate(sorted(kept))}

    def tokens(words):
        for word in words:
            if word in number:
                yield number[word]
            else:
                for character in word:
                    yield number.get(character, 0)

    return {name: numpy.fromiter(tokens(words), dtype=numpy.int64)
            for name, words in pieces.items()}
