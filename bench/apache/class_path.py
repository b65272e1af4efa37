"""The jars of Apache Kafka, its tools and clients: what `java -cp` needs to run any of its programs.

Maven resolves ``pom.xml`` beside this file into its own local repository, once per version of the pom; the answer is kept
in the user's cache directory. Java and Maven are needed for comparisons only, never by Ottla.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
RESOLVE_SECONDS_MAX = 300


class NoApacheKafka(Exception):
    """What is missing on this machine, in words for whoever wanted the comparison."""


@lru_cache(maxsize=1)
def class_path() -> str:
    """Raises ``NoApacheKafka``."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise NoApacheKafka(f"not installed: {', '.join(missing)} (apt-get install openjdk-17-jdk-headless maven)")
    kept = _cache_file()
    if kept.exists():
        jars = kept.read_text()
        if all(Path(jar).exists() for jar in jars.split(":")):
            return jars
    kept.parent.mkdir(parents=True, exist_ok=True)
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:build-classpath", f"-Dmdep.outputFile={kept}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RESOLVE_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoApacheKafka(f"Maven did not fetch Apache Kafka within {RESOLVE_SECONDS_MAX} s") from error
    if done.returncode or not kept.exists():
        raise NoApacheKafka(f"Maven cannot fetch Apache Kafka: {(done.stdout + done.stderr).strip()[-400:]}")
    return kept.read_text()


def java(main_class: str, *arguments: str, heap_mb: int = 256) -> list[str]:
    """The command line of one of its programs. The class path goes by ``environment``: it is too long to read past."""
    return ["java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", main_class, *arguments]


def environment(*more: str) -> dict[str, str]:
    """For a process that runs ``java``; ``more`` are directories in front of the jars."""
    return os.environ | {"CLASSPATH": ":".join((*more, class_path()))}


def _cache_file() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ottla" / f"apache-kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}.classpath"
