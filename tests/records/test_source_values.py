"""What decides a figure is in its description: the values that own code names, and rules registered with functions."""

import pytest

RULES = {
    "custom_vjp": """
        import jax

        def helper(g):
            return 2 * g

        @jax.custom_vjp
        def f(x):
            return x

        def forward(x):
            return f(x), 3

        def backward(rest, g):
            return (helper(g) * 5,)

        f.defvjp(forward, backward)
    """,
    "custom_vjp, arguments without derivative": """
        import functools, jax

        @functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
        def f(x, n=7):
            return x

        f.defvjp(lambda x, n: (x, 3), lambda n, rest, g: (g * 5,))
    """,
    "custom_jvp": """
        import jax

        @jax.custom_jvp
        def f(x):
            return x

        @f.defjvp
        def forward(values, tangents):
            return values[0], tangents[0] * 5
    """,
    "custom_jvp, one rule an argument": """
        import jax

        @jax.custom_jvp
        def f(x):
            return x

        f.defjvps(lambda tangent, value, x: tangent * 5)
    """,
    "custom_jvp, compiled": """
        import jax

        @jax.jit
        @jax.custom_jvp
        def f(x):
            return x

        f.__wrapped__.defjvp(lambda values, tangents: (values[0], tangents[0] * 5))
    """,
    "custom_vmap": """
        import jax

        @jax.custom_batching.custom_vmap
        def f(x):
            return x

        @f.def_vmap
        def rule(size, batched, x):
            return x * 5, True
    """,
    "custom_gradient": """
        import jax

        @jax.custom_gradient
        def f(x):
            return x, lambda g: (g * 5,)
    """,
}
USES = {"itself": "thing = f", "named by own code": "def thing(x):\n            return f(x)"}
EDITS = [("* 5", "* 6"), ("2 * g", "4 * g"), ("), 3", "), 4"), ("argnums=(1,)", "argnums=(0,)")]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", RULES)
def test_the_rules_registered_with_a_function_count(written_code, kind, use):
    text = f"{RULES[kind]}\n        {USES[use]}\n"
    before = written_code(text)
    assert written_code(text) == before
    edited = [text.replace(*edit) for edit in EDITS if edit[0] in text]
    assert edited
    for it in edited:
        assert written_code(it) != before, it


VALUES = {
    "a fraction": ("from fractions import Fraction\nVALUE = Fraction({}, 10)", "float(VALUE)"),
    "a decimal": ("from decimal import Decimal\nVALUE = Decimal({})", "float(VALUE)"),
    "a complex number": ("VALUE = complex({}, 0)", "VALUE.real"),
    "a slice": ("VALUE = slice(0, {})", "x[VALUE]"),
    "a queue": ("import collections\nVALUE = collections.deque([{}])", "VALUE[0]"),
    "an item getter": ("import operator\nVALUE = operator.itemgetter({})", "VALUE(x)"),
    "an attribute getter": ("import operator\nVALUE = operator.attrgetter('a{}')", "VALUE(x)"),
    "a method caller": ("import operator\nVALUE = operator.methodcaller('a', {})", "VALUE(x)"),
    "a value in slots": (
        "class Own:\n    __slots__ = ('r',)\n    def __init__(self, r): self.r = r\nVALUE = Own({})",
        "VALUE.r",
    ),
    "a dictionary of one's own": ("class Own(dict): pass\nVALUE = Own(r={})", "VALUE['r']"),
    "methods of a dictionary of one's own": (
        "class Own(dict):\n    def rate(self): return {}\nVALUE = Own()",
        "VALUE.rate()",
    ),
    "methods of a list of one's own": (
        "class Own(list):\n    def rate(self): return {}\nVALUE = Own()",
        "VALUE.rate()",
    ),
    "methods of a number of one's own": (
        "class Own(float):\n    def rate(self): return {}\nVALUE = Own(1)",
        "VALUE.rate()",
    ),
    "methods of a mapping of one's own": (
        "from collections.abc import Mapping\nclass Own(Mapping):\n    def __getitem__(self, key): return {}\n"
        "    def __iter__(self): return iter(())\n    def __len__(self): return 0\nVALUE = Own()",
        "VALUE[0]",
    ),
    "a callable that copies a function's name": (
        "import functools\nclass Own:\n    def __init__(self, function, factor):\n"
        "        functools.update_wrapper(self, function)\n        self.factor = factor\n"
        "    def __call__(self, x): return self.factor * self.__wrapped__(x)\n"
        "@functools.partial(Own, factor={})\ndef VALUE(x): return x",
        "VALUE(x)",
    ),
    "a property of a metaclass": (
        "class Meta(type):\n    @property\n    def rate(cls): return {}\nclass VALUE(metaclass=Meta): pass",
        "VALUE.rate",
    ),
    "a member of an enumeration": ("import enum\nclass Own(enum.Enum):\n    A = {}\nVALUE = Own.A", "VALUE.value"),
    "a member made by a call": ("import enum\nVALUE = enum.Enum('Own', dict(A={}))['A']", "VALUE.value"),
    "methods of an enumeration": (
        "import enum\nclass Own(enum.Enum):\n    A = 1\n    def rate(self): return {}\nVALUE = Own.A",
        "VALUE.rate()",
    ),
    "a number among an enumeration's": (
        "import enum\nclass Own(enum.IntEnum):\n    A = {}\nVALUE = Own.A",
        "x * VALUE",
    ),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_own_code_names_counts(written_code, kind):
    text, use = VALUES[kind]
    for ending in (f"\ndef thing(x):\n    return {use}\n", "\nthing = VALUE\n"):
        before, again, other = (written_code(text.format(value) + ending) for value in (1, 1, 5))
        assert before == again
        assert before != other
