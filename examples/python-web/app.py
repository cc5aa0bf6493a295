"""Answers every request with a signed greeting."""
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

from itsdangerous import Signer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = Signer("key").sign(f"hello from uid {os.getuid()}") + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()
