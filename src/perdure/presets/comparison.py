"""Which methods `perdure compare` compares unless told otherwise."""

METHODS = (
    "online",
    "ewc",
    "a-gem",
    "gdumb",
    "er",
    "mir",
    "er-ace",
    "der++",
    "cls-er",
    "la-maml",
    "mer",
    "random-fourier-ridge",
)
"""Nothing kept, a penalty, a projection, a control, six kinds of replay, MER, and a head in closed form."""
BASELINE = "er"
"""What the others are held against, if it is among them."""
