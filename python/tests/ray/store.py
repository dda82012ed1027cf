"""An object store with as much of S3's protocol as Arrow speaks, in memory and on 127.0.0.1."""

import http.server
import io
import threading
import urllib.parse
import uuid
from xml.sax.saxutils import escape


class Store:
    """Objects by bucket and key, `bucket/key`."""

    def __init__(self):
        self.objects = {}
        self.parts = {}
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def uri(self, place):
        """The URI of what lies at `place`, with where the store is."""
        return f"s3://{place}?endpoint_override=127.0.0.1:{self._server.server_port}&scheme=http&region=here"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _piece(file):
    """A piece of a body that comes in such, each behind its length in a line; nothing at the end."""
    n = int(file.readline().split(b";")[0], 16)
    piece = file.read(n)
    if n:
        file.readline()
    return piece


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def log_message(self, *_):
        pass

    def asked(self):
        uri = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(uri.path)[1:]
        bucket, _, key = path.partition("/")
        return path if key else bucket, dict(urllib.parse.parse_qsl(uri.query, keep_blank_values=True))

    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.pop("length", None) or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self):
        self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>it is not there</Message></Error>")

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b"".join(iter(lambda: _piece(self.rfile), b""))
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            rest = io.BytesIO(content)
            content = b"".join(iter(lambda: _piece(rest), b""))
        return content

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, query = self.asked()
        if "/" not in path:
            if self.command == "HEAD":
                return self.answer(200)
            return self.list(path, query.get("prefix", ""), query.get("delimiter"))
        content = self.store.objects.get(path)
        if content is None:
            return self.missing()
        tag = {"ETag": '"1"', "Last_Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
        if (wanted := self.headers.get("Range")) and self.command == "GET":
            first, last = wanted.removeprefix("bytes=").split("-")
            part = content[int(first) : int(last) + 1 if last else None]
            return self.answer(206, part, Content_Range=f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}", **tag)
        if self.command == "HEAD":
            self.send_response(200)
            for name, value in {**tag, "Content_Length": str(len(content))}.items():
                self.send_header(name.replace("_", "-"), value)
            return self.end_headers()
        return self.answer(200, content, **tag)

    def list(self, bucket, prefix, delimiter):
        keys = sorted(key.removeprefix(f"{bucket}/") for key in self.store.objects if key.startswith(f"{bucket}/{prefix}"))
        folders = sorted({prefix + key[len(prefix) :].split(delimiter)[0] + delimiter for key in keys if delimiter and delimiter in key[len(prefix) :]})
        own = [key for key in keys if not any(key.startswith(folder) for folder in folders)]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.store.objects[f'{bucket}/{key}'])}</Size>"
            "<LastModified>2026-11-30T00:00:00.000Z</LastModified></Contents>"
            for key in own
        )
        below = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>{len(own)}</KeyCount>{contents}{below}</ListBucketResult>"
        self.answer(200, text.encode(), Content_Type="application/xml")

    def do_PUT(self):
        path, query = self.asked()
        content = self.body()
        if "uploadId" in query:
            self.store.parts[query["uploadId"]][int(query["partNumber"])] = content
        elif origin := self.headers.get("x-amz-copy-source"):
            self.store.objects[path] = self.store.objects[urllib.parse.unquote(origin).strip("/")]
            return self.answer(200, b"<CopyObjectResult><ETag>1</ETag></CopyObjectResult>")
        elif "/" in path:
            self.store.objects[path] = content
        self.answer(200, ETag='"1"')

    def do_POST(self):
        path, query = self.asked()
        content = self.body()
        if "uploads" in query:
            name = uuid.uuid4().hex
            self.store.parts[name] = {}
            return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode())
        if "delete" in query:
            for piece in content.decode().split("<Key>")[1:]:
                self.store.objects.pop(f"{path}/{piece.split('</Key>')[0]}", None)
            return self.answer(200, b"<DeleteResult></DeleteResult>")
        parts = self.store.parts.pop(query["uploadId"])
        self.store.objects[path] = b"".join(parts[number] for number in sorted(parts))
        return self.answer(200, b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")

    def do_DELETE(self):
        self.store.objects.pop(self.asked()[0], None)
        self.answer(204)
