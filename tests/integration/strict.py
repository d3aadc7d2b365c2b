"""Holds answers against the OpenAPI document that promises them, and lets no key pass that it does not name.

Reads a document and answers as JSON from standard input, and writes a line for whatever does not fit.
"""

import json
import sys

import jsonschema_rs

PARTS = ("allOf", "anyOf", "oneOf")


def names_keys(schema, schemas):
    """Whether it says which keys an object has; some only say that there is one."""
    if "$ref" in schema:
        return names_keys(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    parts = [part for key in PARTS for part in schema.get(key, [])]
    return "properties" in schema or any(names_keys(part, schemas) for part in parts)


def part(schema, schemas):
    """The same with values that are closed; itself it may be part of a larger object."""
    result = dict(schema)
    if "properties" in schema:
        each = schema["properties"].items()
        result["properties"] = {name: value(inner, schemas) for name, inner in each}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = value(schema[key], schemas)
    for key in PARTS:
        if key in schema:
            result[key] = [part(inner, schemas) for inner in schema[key]]
    return result


def value(schema, schemas):
    """The same, closed to keys that it does not name."""
    result = part(schema, schemas)
    if names_keys(schema, schemas):
        result["unevaluatedProperties"] = False
    return result


def faults(document, answer):
    operation = document["paths"][answer["path"]][answer["method"]]
    promised = operation["responses"].get(str(answer["status"]))
    if promised is None:
        return ["a status that the document does not have"]
    media_type = answer["type"].split(";")[0]
    promised = promised.get("content", {}).get(media_type)
    if promised is None:
        return [f"{media_type}, which the document does not have"]
    schemas = document["components"]["schemas"]
    closed = value(promised["schema"], schemas)
    closed["components"] = {"schemas": {name: part(each, schemas) for name, each in schemas.items()}}
    body = json.loads(answer["body"]) if media_type == "application/json" else answer["body"]
    validator = jsonschema_rs.Draft202012Validator(closed, validate_formats=True)
    return [f"{list(fault.instance_path)}: {fault.message}" for fault in validator.iter_errors(body)]


told = json.load(sys.stdin)
for answer in told["answers"]:
    for fault in faults(told["document"], answer):
        print(answer["method"], answer["path"], answer["status"], fault)
