# SPDX-License-Identifier: LGPL-2.1-or-later
"""pairs.py FILE... - count each pair of neighbouring words, and print them all in order.

What the demo has python3 do: millions of small objects in one large dictionary.
"""
import sys
from collections import Counter

pairs = Counter()
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        for line in file:
            words = line.split()
            pairs.update(zip(words, words[1:]))

for (first, second), n in sorted(pairs.items()):
    sys.stdout.buffer.write(b"%d %s %s\n" % (n, first, second))
