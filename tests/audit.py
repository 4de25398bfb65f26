"""Known vulnerabilities of the versions in constraints.txt, as pip-audit finds them in the OSV database: `make audit`.

Fails where the database names one that is not accepted here, and says why where it could not be asked.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
SERVICE = ("api.osv.dev", 443)
PATIENCE = 10  # seconds until the service counts as out of reach
ACCEPTED: dict[str, str] = {}  # what is known and does not concern alignkit: its id, and why


def audit(
    run: Callable[..., Any] = subprocess.run, reach: Callable[..., Any] = socket.create_connection
) -> tuple[int, str]:
    """(exit code, what to say); 0 also where nobody could be asked."""
    try:
        reach(SERVICE, timeout=PATIENCE).close()
    except OSError as error:
        return 0, f"not audited: {SERVICE[0]} cannot be reached: {error}"
    exact = ["--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    command = [sys.executable, "-m", "pip_audit", *exact, "--vulnerability-service", "osv", "--format", "json"]
    done = run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return 0, f"not audited: pip-audit came to no result: {(done.stderr.strip().splitlines() or ['silence'])[-1]}"
    known = [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in packages
        for found in package.get("vulns", ())
        if found["id"] not in ACCEPTED
    ]
    return (1, "\n".join(known)) if known else (0, f"no known vulnerability in {len(packages)} packages")


if __name__ == "__main__":
    code, said = audit()
    print(said)
    sys.exit(code)
