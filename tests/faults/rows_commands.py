"""Words of a command: numbers of options, options that are unknown, named twice or miss a value."""

from tests.faults.rows import NINES, Row, fit, invert, score


def option(name: str, value: str, *says: str) -> Row:
    """Return the row of an inversion with one option."""
    return Row(f"{name} {value[:20]}", invert(name, value), (name, *says))


def metric(value: str, *says: str) -> Row:
    """Return the row of a scoring with one metric."""
    words = tuple(value if word == "cosine" else word for word in score())
    return Row(f"--metric {value[:20]}", words, says)


WHOLE = "expected a whole number"
ROWS = [
    option("--images", "1.5", "'1.5'", WHOLE),
    option("--images", "2.0", "'2.0'", WHOLE),
    option("--images", "0", "at least 1"),
    option("--images", "-1", "'-1'", WHOLE),
    option("--images", "²", "'²'", WHOLE),
    option("--images", "1e3", "'1e3'", WHOLE),
    option("--images", "0x10", WHOLE),
    option("--images", "1_000", WHOLE),
    option("--images", "", WHOLE),
    option("--images", "nan", WHOLE),
    option("--images", NINES, WHOLE),
    option("--images", "9" * 16, "expected"),
    option("--seeds", "0.6", "'0.6'", WHOLE),
    option("--seeds", "x", "'x'", WHOLE),
    option("--seeds", NINES, WHOLE),
    Row("--seeds 1 2", invert("--seeds", "1", "2"), ("--seeds 1 2", "one seed")),
    Row("--seeds 1 2.5", invert("--seeds", "1", "2.5"), ("'2.5'", WHOLE)),
    Row("--workers 1.5", ("benchmark", "ood", "--workers", "1.5"), ("--workers", "'1.5'", WHOLE)),
    Row("--workers 0", ("benchmark", "ood", "--workers", "0"), ("--workers 0", "at least 1")),
    Row("--alpha nan", ("ood", "score", "g", "many.npz", "--alpha", "nan"), ("--alpha 'nan'", "finite")),
    Row("--alpha inf", ("ood", "score", "g", "many.npz", "--alpha", "inf"), ("--alpha 'inf'", "finite")),
    Row("--alpha x", ("ood", "score", "g", "many.npz", "--alpha", "x"), ("--alpha 'x'", "finite")),
    Row("--delta 1e999", ("ood", "score", "g", "many.npz", "--delta", "1e999"), ("--delta '1e999'", "finite")),
    metric("ssim:²", "--metric 'ssim:²'", "NAME:SIDE"),
    metric("ssim:0", "NAME:SIDE"),
    metric("ssim:", "NAME:SIDE"),
    metric("ssim:-8", "NAME:SIDE"),
    metric("ssim:" + NINES, "NAME:SIDE"),
    metric("ssim:99999999999", "metrics.ssim", "less than or equal to"),
    metric("", "metric '' is unknown"),
    metric("a\x1bb", "metric 'a\\x1bb' is unknown"),
    option("--device", "tpu", "'tpu'", "cpu"),
    option("--device", "cuda:99", "--device cpu"),
    option("--device", "cuda:²", "expected auto, cpu"),
    option("--device", "", "expected auto, cpu"),
    Row("--precision float8", invert("--precision", "float8"), ("precision", "'float8'")),
    option("--workers", "2", "leave it out"),
    Row("an unknown option", invert("--imagse", "3"), ("--imagse", "--images")),
    Row("an unknown option with an escape", invert("--a\x1b[31m", "3"), ("--a\\x1b[31m",)),
    Row("an unknown command", ("invret",), ("invret",)),
    Row("an option without a value", invert("--images"), ("--images",)),
    Row("an option twice", invert("--images", "3", "--images", "4"), ("--images", "expected once")),
    Row("a word of 5 MB", ("invert", "a.pth", "x" * 5_000_000), ("xxx",)),
    Row("no data", ("ood", "fit"), ("--data",)),
    Row("as it is, without a model", fit("many.npz", "--as-it-is"), ("--as-it-is needs --model",)),
    Row("--resume without --out", ("invert", "--model", "mlp.safetensors", "--resume"), ("--resume needs --out",)),
    Row("no model", ("invert", "--out", "o"), ("--model is missing",)),
    Row("an unknown method", ("leakage", "reconstruct", "mlp.safetensors", "--method", "k\nk"), ("'k\\nk'",)),
    Row("a detector without :", ("benchmark", "ood", "--detector", "abc"), ("'abc'", "package.module:Class")),
    Row("a detector of nothing", ("benchmark", "ood", "--detector", ":X"), ("':X'",)),
    Row("a detector that is not there", ("benchmark", "ood", "--detector", "no.thing:X"), ("no.thing:X", "No module")),
]


def detector(name: str, code: str, *says: str) -> Row:
    """Return the row of a benchmark with a detector of the user's own, in ``own_NAME.py``."""
    module = f"own_{name}"
    words = ("benchmark", "ood", "--detector", f"{module}:make", "--out", "o")
    return Row(f"detector: {name}", words, (module, *says), lambda at: (at / f"{module}.py").write_text(code))


ROWS += [
    detector("exits", "import sys\nsys.exit(0)\n", "SystemExit: 0"),
    detector("undefined", "x = undefined\n", "NameError: name 'undefined' is not defined"),
    detector("no_python", "def (:\n", "SyntaxError"),
    detector(
        "raises",
        "def make():\n    raise ValueError('boom\\n\\x1b[31m')\n",
        "ValueError: boom \\x1b",
    ),
    detector("exits_when_made", "def make():\n    raise SystemExit\n", "SystemExit"),
    detector("recurses", "def make():\n    return make()\n", "RecursionError"),
    detector("without_it", "x = 1\n", "has no attribute 'make'"),
    detector("no_callable", "make = 5\n", "TypeError"),
]
