"""Changes of a bundle's files that are signed again: every checksum is right, the content is not."""

import hashlib
import io
import json

import numpy as np
from safetensors.numpy import load_file, save
from standins.bundle_run import edit_manifest


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def replace_file(folder, name, content: bytes):
    """Another content with the right checksum."""
    (folder / name).write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, files=manifest_of(folder)["files"] | {name: record})


def replace_arrays(folder, name, change):
    with np.load(folder / name) as arrays:
        content = {key: arrays[key] for key in arrays.files}
    change(content)
    stream = io.BytesIO()
    np.savez(stream, **content)
    replace_file(folder, name, stream.getvalue())


def replace_json(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    replace_file(folder, name, json.dumps(content).encode())


def replace_weights(folder, name, change):
    content = load_file(folder / name)
    change(content)
    replace_file(folder, name, save(content))


def set_key(content, key, value):
    *path, last = key.split(".")
    for part in path:
        content = content[int(part) if isinstance(content, list) else part]
    if value is None:
        del content[last]
    else:
        content[int(last) if isinstance(content, list) else last] = value


def first_scores(content):
    return content[min(content)]


def with_first(content, values):
    content[min(content)] = values
