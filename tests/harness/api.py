"""The HTTP API of a migrator: its tokens, calls as a program makes them, and what its description says of answers."""
import http.client
import json
import os
import re
import secrets
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DESCRIPTION = os.path.join(ROOT, "migrator", "api", "openapi.json")


def write_tokens(folder, names=("read", "operator")):
    """-> file, {role: token}; each is named after its role."""
    tokens = {role: secrets.token_hex(32) for role in names}
    path = os.path.join(folder, "tokens")
    with open(path, "w", encoding="ascii") as f:
        f.write("# who may ask\n\n" + "".join(f"{role}  {role}-name\t{token}\n" for role, token in tokens.items()))
    os.chmod(path, 0o640)
    return path, tokens


class Api:
    """A migrator of a ferry, asked by HTTP."""

    def __init__(self, ferry, **admin):
        self.file, self.tokens = write_tokens(ferry.folder)
        ferry.settings["admin"] = dict({"listen": "http://127.0.0.1:0", "token_file": self.file}, **admin)
        self.ferry = ferry
        self.migrator = ferry.migrator()
        self.address = self.migrator.wait(r'listening on (https?://[^\s"]+|http\+unix://[^\s"]+)').group(1)
        self.host = urllib.parse.urlsplit(self.address).netloc

    def connect(self):
        return http.client.HTTPConnection(self.host, timeout=20)

    def raw(self, method, path, body=None, headers=None, connection=None):
        """-> status, bytes, headers (names in small letters)"""
        c = connection or self.connect()
        try:
            c.request(method, path, body=body, headers=headers or {})
            r = c.getresponse()
            return r.status, r.read(), {k.lower(): v for k, v in r.getheaders()}
        finally:
            if not connection:
                c.close()

    def call(self, path, body=None, role="operator", token=None, headers=None, connection=None, **query):
        """-> status, what the JSON says. POST where there is a body."""
        query = {k: v for k, v in query.items() if v is not None}
        if query:
            path += "?" + urllib.parse.urlencode(query)
        h = {"Authorization": f"Bearer {token or self.tokens[role]}"}
        if body is not None:
            h["Content-Type"] = "application/json"
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        h.update(headers or {})
        status, data, answer = self.raw("POST" if body is not None else "GET", "/api/v1/" + path, body, h, connection)
        if answer.get("content-type") != "application/json" and status in (400, 405, 413, 431):
            return status, {"error": data.decode()}  # of the HTTP server itself, before anybody looked at what is asked
        return status, json.loads(data)


# ---- the description

class Description:
    """openapi.json, as a program reads it: the part of JSON Schema that it uses."""

    def __init__(self):
        with open(DESCRIPTION, encoding="utf-8") as f:
            self.all = json.load(f)

    def resolve(self, o):
        while "$ref" in o:
            at = self.all
            for part in o["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            o = at
        return o

    def operations(self):
        for path, methods in self.all["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def faults(self, value, schema, at="$"):
        """What is wrong with a value, as texts."""
        schema = self.resolve(schema)
        kinds = schema.get("type")
        if kinds is not None:
            kinds = kinds if isinstance(kinds, list) else [kinds]
            if not any(is_kind(value, k) for k in kinds):
                yield f"{at}: {value!r} is no {kinds}"
                return
        if "enum" in schema and value is not None and value not in schema["enum"]:
            yield f"{at}: {value!r} is none of {schema['enum']}"
        if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{at}: {value!r} is not {schema['pattern']}"
        if isinstance(value, int) and value < schema.get("minimum", value):
            yield f"{at}: {value} is below {schema['minimum']}"
        if isinstance(value, list) and "items" in schema:
            for i, v in enumerate(value):
                yield from self.faults(v, schema["items"], f"{at}[{i}]")
        if isinstance(value, dict):
            for name in schema.get("required", []):
                if name not in value:
                    yield f"{at}: {name} is missing"
            more = schema.get("additionalProperties")
            for name, v in value.items():
                known = schema.get("properties", {}).get(name, more if isinstance(more, dict) else None)
                if known is not None:
                    yield from self.faults(v, known, f"{at}.{name}")

    def answer_faults(self, operation, status, data):
        """Of an answer to this operation."""
        if str(status) not in operation["responses"]:
            yield f"status {status} is not described"
            return
        content = self.resolve(operation["responses"][str(status)])["content"]
        yield from self.faults(data, content["application/json"]["schema"])


def is_kind(value, kind):
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}[kind])
