"""Finds filters that select nothing.

Usage: filters.py tests    the names of packages, targets, tests and scripts in the documentation and in the
                           commands of ci/*.sh; builds the tests
       filters.py mutants  the regular expressions of .cargo/mutants.toml; needs cargo-mutants

Prints what matches nothing, and exits with 1 if there is any.
"""

import itertools
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

ROOT = "plugmeter"
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "RELIABILITY.md", "BENCHMARKS.md"]
# Options of `cargo` and of the test harness that take a value which selects nothing.
VALUES = ["--features", "--target", "--target-dir", "--manifest-path", "--jobs", "-j", "--test-threads"]
KINDS = {"--test": "test", "--bench": "bench", "--example": "example", "--bin": "bin"}


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def braces(word):
    """Expands `{a,b}` as the shell does."""
    match = re.search(r"\{([^{}]*,[^{}]*)\}", word)
    if not match:
        return [word]
    parts = (word[: match.start()] + part + word[match.end() :] for part in match[1].split(","))
    return list(itertools.chain.from_iterable(map(braces, parts)))


def documented():
    """The commands in backticks and code blocks of the documents, as (place, words)."""
    for document in DOCUMENTS:
        text = pathlib.Path(document).read_text()
        for number, line in enumerate(text.splitlines(), 1):
            command = None
            for span in re.findall(r"`([^`]+)`", line) or [line]:
                # "`cargo test --test a`, `--test b`": the second continues the first.
                if command and span.startswith("--test "):
                    span = f"{command} {span}"
                elif match := re.search(r"(?<!\S)cargo (?:\+\S+ )?(test|bench|run) .*", span):
                    command = re.split(r" --test | -- ", match[0])[0]
                    span = match[0]
                else:
                    continue
                # What follows in a shell command line.
                yield f"{document}:{number}", words(re.split(r"\s#|\||&&|;", span)[0])


def scripted():
    """The cargo commands of ci/*.sh, as (place, words)."""
    for script in [*sorted(pathlib.Path("ci").glob("*.sh")), pathlib.Path(".ci/run")]:
        text = re.sub(r"^\s*#.*$", "", script.read_text(), flags=re.M).replace("\\\n", " ")
        for line in text.splitlines():
            # The scripts also pass targets to cargo by way of another tool.
            line = line.replace("--cargo-arg=", "")
            # A command that the script runs later.
            if match := re.search(r'\becho "([^"]*\bcargo [^"]*)"', line):
                line = match[1]
            if re.search(r"\bcargo\b|--test\b|--bench\b|--example\b", line) and "grep" not in line:
                yield str(script), words(re.split(r"\s\||&&|;", line)[0])


def words(command):
    try:
        parts = shlex.split(command, comments=True)
    except ValueError:
        parts = command.replace('"', " ").replace("'", " ").split()
    return list(itertools.chain.from_iterable(map(braces, parts)))


class Selection:
    """What a command selects: packages, targets, and tests by parts of their names."""

    def __init__(self, parts):
        self.packages, self.targets, self.filters = [], [], []
        # Without an option cargo selects the package of the folder.
        is_root = parts[:1] == ["cargo"] and "--workspace" not in parts
        is_test = "test" in parts
        own = False  # behind `--`
        parts = iter(parts[parts.index("test") + 1 :] if is_test else parts)
        for part in parts:
            name, _, value = part.partition("=")
            if part == "--":
                own = True
                # The arguments of a program are its own.
                if not is_test:
                    break
            elif part == "--lib":
                self.targets.append(("lib", None))
            elif name in KINDS and not own:
                self.targets.append((KINDS[name], value or next(parts, "")))
            elif name in ("-p", "--package"):
                self.packages.append(value or next(parts, ""))
            elif name == "--skip":
                self.filters.append(value or next(parts, ""))
            elif name in VALUES:
                value or next(parts, "")
            elif is_test and not part.startswith("-"):
                self.filters.append(part)
        self.targets = [(kind, name) for kind, name in self.targets if is_literal(name)]
        if is_root and not self.packages:
            self.packages = [ROOT]
        self.packages = [name for name in self.packages if is_literal(name)]
        self.filters = [name for name in self.filters if is_literal(name)]


def is_literal(name):
    """Whether it is a name, and not one that the shell or the reader fills in."""
    return name is None or not re.search(r"[$\"'<>(){}*]|^[A-Z_]+$", name)


def tests():
    """The names of all tests, by package and target."""
    built = output(
        *"cargo test --locked --workspace --all-features --lib --bins --tests --no-run".split(),
        "--message-format=json",
    )
    found = {}
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message["executable"]:
            continue
        if not message["profile"]["test"]:
            continue
        target = message["target"]
        kind = "lib" if "lib" in target["kind"] else target["kind"][0]
        key = (message["manifest_path"], kind, target["name"])
        listed = subprocess.run(
            [message["executable"], "--list", "--format=terse"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            text=True, timeout=60,
        ) if has_harness(target) else None
        names = listed.stdout.splitlines() if listed else []
        found[key] = [line.removesuffix(": test") for line in names if line.endswith(": test")]
    return found


def has_harness(target):
    """Whether the target has the standard harness, which can list its tests."""
    source = pathlib.Path(target["src_path"]).read_text()
    return not re.search(r"^fn main\(", source, re.M) or "lib" in target["kind"] or "bin" in target["kind"]


def check_tests():
    metadata = json.loads(output(*"cargo metadata --locked --no-deps --format-version 1".split()))
    packages = {package["name"]: package for package in metadata["packages"]}
    targets = {
        (package["name"], kind, target["name"])
        for package in packages.values()
        for target in package["targets"]
        for kind in target["kind"]
    }
    paths = {package["manifest_path"]: package["name"] for package in packages.values()}
    all_tests = {(paths[path], kind, name): list for (path, kind, name), list in tests().items()}

    checked, missing = 0, []
    for document in DOCUMENTS:
        for script in re.findall(r"\bci/[\w-]+\.sh", pathlib.Path(document).read_text()):
            checked += 1
            if not pathlib.Path(script).exists():
                missing.append(f"{document}: no script {script}")
    for place, parts in itertools.chain(documented(), scripted()):
        selection = Selection(parts)
        command = " ".join(parts)
        for package in selection.packages:
            checked += 1
            if package not in packages:
                missing.append(f"{place}: no package {package}: {command}")
        for kind, name in selection.targets:
            checked += 1
            if kind != "lib" and not any(
                (kind, name) == target[1:] and (not selection.packages or target[0] in selection.packages)
                for target in targets
            ):
                missing.append(f"{place}: no {kind} {name}: {command}")
        for text in selection.filters:
            checked += 1
            if not any(
                text in test
                for (package, kind, name), names in all_tests.items()
                if (not selection.packages or package in selection.packages)
                and (not selection.targets or any(
                    kind == wanted and named in (None, name) for wanted, named in selection.targets
                ))
                for test in names
            ):
                missing.append(f"{place}: no test with {text} in its name: {command}")
    return checked, missing


def check_mutants():
    config = tomllib.loads(pathlib.Path(".cargo/mutants.toml").read_text())
    mutants = output("cargo", "mutants", "--no-config", "--list").splitlines()
    expressions = config["exclude_re"]
    missing = [
        f".cargo/mutants.toml: no mutant {expression}"
        for expression in expressions
        if not any(re.search(expression, mutant) for mutant in mutants)
    ]
    return len(expressions), missing


if __name__ == "__main__":
    checked, missing = {"tests": check_tests, "mutants": check_mutants}[sys.argv[1]]()
    print("\n".join(missing), file=sys.stderr, end="\n" if missing else "")
    print(f"{checked} names and expressions, {len(missing)} without a match")
    # None at all would mean that the commands were not recognized.
    sys.exit(bool(missing) or not checked)
