"""Colours of the picture and the page.

Blue, orange, magenta and yellow differ in lightness too, so that people who see few colours, and grey printers, can
tell them apart (after Okabe and Ito, Color Universal Design, 2008); missed cells are dashed as well.
"""

ACCEPTED = "#3aa6ee"
REJECTED = "#f08a24"
FALSE = "#e45fc0"
MISSED = "#f7e94a"
INK = "#17212b"
QUIET = "#6b7785"
RULE = "#d9dfe5"
PAPER = "#ffffff"
