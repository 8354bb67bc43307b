"""Settings: YAML, numbers with two ends, names that become parts of paths, code that only a config names."""

from pathlib import Path

from tests.faults.rows import NINES, Row, config, fit, invert, score

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
"""A few hundred bytes that stand for 10^10 values."""
ONE = "recipe: {arch: mlp-8, steps: 5}, members: 7"
LEAKAGE = (
    f"data: digits\nattack_control: {{{ONE}}}\nmetrics: {{cosine: {{}}}}\n"
    "methods: {kkt: {kind: kkt, settings: {images: 2, restarts: 1, steps: 2}}}\nseeds: [0]\n"
)
RELEASED = "released: {{mine: {{model: mlp.pth, arch: '{arch}', members: a, controls: b, reference: c}}}}\n"


def own_detector(folder: Path) -> None:
    """Write code that must not run, and a config that names it."""
    (folder / "evil.py").write_text("open('CODE_RAN', 'w')\nclass X: pass\n")
    (folder / "c.yaml").write_text(OOD + "detectors: ['evil:X']\n")


OOD = (
    "name: x\ntraining: {epochs: 1}\ninversion: {steps: 1}\nattacks: {a: {steps: 1}}\n"
    "networks: {full: {garbage: {noise: 1}, baselines: [MaxSoftmax]}}\nseeds: [0]\n"
)
IN_CONFIG = ("--config", "c.yaml")


def setting(name: str, value: str, *says: str) -> Row:
    """Return the row of an inversion with one setting, as --set gives it."""
    return Row(f"{name}={value[:24]} ({len(value)})", invert("--set", f"{name}={value}"), says)


def file(name: str, content: str | bytes, *says: str) -> Row:
    """Return the row of an inversion by a config file."""
    return Row(f"config: {name}", invert(*IN_CONFIG), says, config(content))


VALUES = [
    setting("steps", "2001-99-99", "--set 'steps=2001-99-99' is not valid YAML", "month"),
    setting("steps", "2001-09-09", "steps: Input should be a valid integer"),
    setting("steps", "!!int abc", "is not valid YAML", "abc"),
    setting("steps", "!!float abc", "is not valid YAML", "abc"),
    setting("steps", "!!bool abc", "is not valid YAML", "abc"),
    setting("steps", "!!timestamp abc", "is not valid YAML"),
    setting("steps", "!!python/object/apply:os.getcwd []", "is not valid YAML", "could not determine a constructor"),
    setting("steps", NINES, "is not valid YAML", "digits"),
    setting("steps", "9" * 400, "steps: got a whole number of about 400 digits", "expected a finite number"),
    setting("steps", ".inf", "steps", "finite"),
    setting("steps", ".nan", "steps", "finite"),
    setting("steps", "1e30", "steps"),
    setting("steps", "1.5", "steps", "(got 1.5)"),
    setting("steps", "0", "steps", "greater than or equal to 1", "(got 0)"),
    setting("steps", "-3", "steps", "(got -3)"),
    setting("steps", "null", "steps", "(got None)"),
    setting("steps", "[1]", "steps", "(got [1])"),
    setting("steps", "{a: 1}", "steps", "(got {'a': 1})"),
    setting("steps", "²", "steps", "(got '²')"),
    setting("steps", "[", "--set 'steps=[' is not valid YAML"),
    setting("steps.deeper", "1", "steps"),
    setting("batch_size", "1000000000000", "batch_size", "less than or equal to 1000000"),
    setting("batch_size", "1" + "0" * 21, "batch_size", "less than or equal to"),
    setting("noise", "1" + "0" * 21, "noise", "less than or equal to"),
    setting("eval_images", "1" + "0" * 21, "eval_images", "less than or equal to"),
    setting("learning_rate", ".inf", "learning_rate", "finite"),
    setting("learning_rate", "1e30", "learning_rate", "less than or equal to 1000"),
    setting("learning_rate", "-1", "learning_rate", "greater than 0"),
    setting("temperature", ".nan", "temperature", "finite"),
    setting("betas", "[0.5, 1.5]", "betas.1", "less than 1"),
    setting("dropout", "1", "dropout", "less than 1"),
    setting("weights", "{kl: .inf}", "weights", "finite"),
    setting("weights", "{kl: -1}", "weight of kl"),
    setting("weights", "{kll: 1}", "unknown objective 'kll'", "known:"),
    setting("mode", '"a\\0b"', "mode", "NUL"),
    setting("generator", "5", "generator", "string"),
    setting("epochs", "5", "unknown key 'epochs'"),
    setting("stepps", "5", "unknown key 'stepps'", "did you mean 'steps'"),
    Row("--set without =", invert("--set", "steps"), ("--set 'steps'", "expected key=value")),
    Row("--set of 5 MB", invert("--set", "steps=" + "[x," * 1_700_000), ("--set", "expected at most", "shorten it")),
]
FILES = [
    file("empty", "", "c.yaml holds a NoneType", "expected keys and values"),
    file("a list", "- 1\n- 2\n", "c.yaml holds a list"),
    file("a text", "hello", "c.yaml holds a str"),
    file("two documents", "steps: 1\n---\nsteps: 2\n", "c.yaml is not valid YAML", "another document"),
    file("tab", "steps:\n\t- 1\n", "c.yaml is not valid YAML"),
    file("no UTF-8", b"steps: \xff\n", "c.yaml is not UTF-8", "byte 7", "save it as UTF-8"),
    file("UTF-16", "steps: 1\n".encode("utf-16"), "c.yaml is not UTF-8"),
    file("NUL", "steps: \0\n", "c.yaml is not valid YAML"),
    file("escape sequences", "\x1b[31mred: 1\n", "c.yaml is not valid YAML", "#x001b"),
    file("escape in a key", '"\\e[31mred": 1\n', "unknown key '\\\\x1b[31mred'"),
    file("a key twice", "steps: 2\nsteps: 3\n", "c.yaml, line 2", "'steps' is given twice", "give it once"),
    file("an inner key twice", "weights: {kl: 1, kl: 2}\n", "c.yaml, line 1", "'kl' is given twice"),
    file("alias bomb", BOMB.replace("a9:", "steps:"), "aliases followed", "shorten it"),
    file("small alias bomb", "\n".join(BOMB.splitlines()[:4]).replace("a3:", "steps:"), "steps"),
    file("an alias of itself", "steps: &a [*a]\n", "aliases followed", "shorten it"),
    file("no such anchor", "steps: *a\n", "c.yaml is not valid YAML", "undefined alias"),
    file("deep", "steps: " + "[" * 60_000 + "]" * 60_000, "nested deeper than 50 levels"),
    file("nested in 60 levels", "steps: " + "[" * 60 + "]" * 60, "nested deeper than 50 levels"),
    file("5 MB", "steps: " + "x" * 5_000_000, "c.yaml has", "expected at most"),
    file("a key that is a number", "1: 2\n", "c.yaml", "Keys should be strings"),
    file("a key that is a list", "[a, b]: 2\n", "c.yaml is not valid YAML", "unhashable"),
    file("9000 unknown keys", "".join(f"k{i}: 1\n" for i in range(9000)), "unknown key 'k0'", "and 8990 more"),
    file("a long unknown key", "x" * 100_000 + ": 1\n", "c.yaml"),
    file("an object of Python", "steps: !!python/name:os.system\n", "c.yaml is not valid YAML"),
]


def score_name(name: str, value: str) -> Row:
    """Return the row of a scoring whose target has a name that is no name of a file."""
    return Row(f"name {name}", score("--set", f"name={value}"), ("name", "pattern"))


def leakage(name: str, content: str, *says: str) -> Row:
    """Return the row of a leakage benchmark by a config file."""
    words = ("benchmark", "leakage", *IN_CONFIG, "--workers", "1", "--out", "o")
    return Row(f"leakage config: {name}", words, says, config(LEAKAGE + content))


def ood(name: str, content: str, *says: str) -> Row:
    """Return the row of an OOD benchmark by a config file."""
    words = ("benchmark", "ood", *IN_CONFIG, "--workers", "1", "--out", "o")
    return Row(f"ood config: {name}", words, says, config(content))


NAMES = [
    score_name("with folders", "../../ESCAPED"),
    score_name("absolute", "/ESCAPED"),
    score_name("hidden", ".x"),
    score_name("dots", '".."'),
    score_name("empty", '""'),
    score_name("line end", '"a\\nb"'),
    score_name("NUL", '"\\0"'),
    Row("name long", score("--set", "name=" + "x" * 300), ("name", "at most 80")),
    leakage("name with folders", f"name: ../x\ntargets: {{mlp: {{{ONE}}}}}\n", "name", "pattern"),
    leakage("target with folders", f"name: x\ntargets: {{../mlp: {{{ONE}}}}}\n", "targets", "pattern"),
    leakage("target absolute", f"name: x\ntargets: {{/ABS: {{{ONE}}}}}\n", "targets", "pattern"),
    leakage("released with folders", "name: x\n" + RELEASED.replace("mine", "../m").format(arch="mlp-8"), "released"),
    leakage("name of the control", f"name: x\ntargets: {{attack-control: {{{ONE}}}}}\n", "is taken"),
    ood("name with folders", OOD.replace("name: x", "name: a/b"), "name", "pattern"),
    ood("network with folders", OOD.replace("{full:", "{../n: {garbage: {noise: 1}}, full:"), "networks", "pattern"),
    ood("attack with folders", OOD.replace("{a:", "{a/b:"), "attacks", "pattern"),
]
NUMBERS = [
    Row("limit_noise=.inf", score("--set", "limit_noise=.inf"), ("limit_noise", "finite")),
    Row("limit_blur=1e9", score("--set", "limit_blur=1000000000"), ("limit_blur", "less than or equal to 100")),
    Row("draws=1e12", score("--set", "draws=1000000000000"), ("draws", "less than or equal to")),
    Row("alpha=.nan", score("--set", "alpha=.nan"), ("alpha",)),
    Row("a path of bytes", score("--pairs", "p\udcff.csv"), ("pairs", "no characters")),
    leakage("std of 0", "name: x\n" + RELEASED.format(arch="mlp-8").replace("mlp.pth", "m, std: [0]"), "std"),
    leakage("std of inf", "name: x\n" + RELEASED.format(arch="mlp-8").replace("mlp.pth", "m, std: [.inf]"), "std"),
]
for _key, _value in (
    ("training.shift", "1" + "0" * 21),
    ("training.batch_size", "1000000000000"),
    ("training.learning_rate", "1e30"),
    ("garbage.slots", ".inf"),
    ("garbage.slots", "1e30"),
    ("garbage.every", ".inf"),
    ("garbage.noise", "-0.5"),
    ("inversion.steps", ".nan"),
):
    _words = ("ood", "fit", "many.npz", "--out", "o", "--set", f"recipe.{_key}={_value}")
    NUMBERS.append(Row(f"recipe.{_key}={_value[:9]}", _words, (f"recipe.{_key}",)))

CODE = [
    Row(
        "a detector of a config",
        ("benchmark", "ood", *IN_CONFIG, "--workers", "1", "--out", "o"),
        ("c.yaml names code, 'evil:X'", "--allow-code evil:X"),
        own_detector,
    ),
    Row(
        "another one is allowed",
        ("benchmark", "ood", *IN_CONFIG, "--workers", "1", "--out", "o", "--allow-code", "evil:Y"),
        ("c.yaml names code, 'evil:X'", "--allow-code evil:X"),
        own_detector,
    ),
    leakage(
        "an architecture", "name: x\n" + RELEASED.format(arch="evil:make"), "'evil:make'", "--allow-code evil:make"
    ),
    Row(
        "an architecture of a guard",
        fit("many.npz", *IN_CONFIG),
        ("c.yaml names code, 'evil:make'", "--allow-code evil:make"),
        config("arch: 'evil:make'\n"),
    ),
]
ROWS = [*VALUES, *FILES, *NAMES, *NUMBERS, *CODE]
