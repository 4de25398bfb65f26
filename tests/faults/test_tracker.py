"""A tracker that is away costs its curves, and a bounded time: wandb's own client, and a server that stands for its."""

import gzip
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

pytestmark = pytest.mark.smoke

USER = {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
PROJECT = {"id": "p", "name": "mine", "entity": {"id": "e", "name": "me"}}
BUCKET = {"id": "b", "name": "first", "displayName": "first", "config": "{}", "historyLineCount": 0, "project": PROJECT}
BEGUN = {"upsertBucket": {"bucket": BUCKET, "inserted": True}}


class Service(BaseHTTPRequestHandler):
    """Lets a run begin, and is unavailable when it first sends something."""

    away = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        text = (gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body).decode(errors="replace")
        if self.path.endswith("/file_stream"):
            type(self).away = True
        answer = json.dumps({"data": BEGUN if "mutation UpsertBucket" in text else USER}).encode()
        self.send_response(503 if self.away else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: object) -> None: ...


def run(folder, url, **environment) -> subprocess.CompletedProcess:
    """`alignkit train`, with a client that does not wait as long as by itself."""
    settings = {"WANDB_BASE_URL": url, "WANDB_API_KEY": "a" * 40, "WANDB_DIR": str(folder), "WANDB_MODE": "online"}
    command = [sys.executable, "-m", "alignkit", "train", "dpo/tiny", "report=wandb", f"train.output_dir={folder}/out"]
    return subprocess.run(
        command, env={**os.environ, **settings, **environment}, cwd=folder, capture_output=True, text=True, timeout=200
    )


def assert_nothing_lost(run, folder):
    assert run.returncode == 0, run.stderr
    metrics = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in metrics if "loss" in entry] == [1, 2]
    assert (folder / "out" / "model.safetensors").is_file()
    assert "Traceback" not in run.stderr


def test_that_is_not_there(tmp_path):
    found = run(tmp_path, "http://127.0.0.1:9", WANDB_INIT_TIMEOUT="2")
    assert_nothing_lost(found, tmp_path)
    assert found.stderr.count("Wandb failed and is left out from here on: ") == 1


def test_that_goes_away(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = run(tmp_path, f"http://127.0.0.1:{server.server_port}", WANDB_FINISH_TIMEOUT="2")
        server.shutdown()
    assert Service.away, "it was there at first"
    assert_nothing_lost(found, tmp_path)  # nor waited for: left to itself, wandb does not come back
