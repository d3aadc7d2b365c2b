#!/usr/bin/env python3
"""Turns a Whisper model in CTranslate2's form into the ggml form that whisper.cpp reads.

usage: convert_model.py MODEL_FOLDER OUTPUT

MODEL_FOLDER holds model.bin (16-bit floats) and vocabulary.txt or vocabulary.json, as faster-whisper
lays them out.
Matrices become q8_0 (blocks of 32 weights that share a 16-bit scale), the rest 32-bit floats.
Nothing of the model is executed: tensors and tokens are read as data. Needs numpy.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

GGML_MAGIC = 0x67676D6C
F32, F16, Q8_0 = 0, 1, 8
# The file type that whisper.cpp expects in the header: q8_0 in quantization version 2.
FILE_TYPE_Q8_0 = 2007
MULTILINGUAL_VOCABULARY = 51865
MEL_RATE, MEL_FFT, MEL_TOP_HZ = 16000, 400, 8000.0


class Tensors:
    """The tensors of a CTranslate2 model.bin, by name."""

    KINDS = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}

    def __init__(self, path):
        self.data, self.at = memoryview(path.read_bytes()), 0
        (version,) = self.take("<I")
        spec = self.text()
        _revision, count = self.take("<II")
        if version != 6 or spec != "WhisperSpec":
            raise SystemExit(f"{path}: version {version} of {spec}; known is 6 of WhisperSpec")
        self.tensors = dict(self.tensor() for _ in range(count))

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        (length,) = self.take("<H")
        (raw,) = self.take(f"<{length}s")
        return raw.rstrip(b"\0").decode()

    def tensor(self):
        name = self.text()
        (rank,) = self.take("<B")
        shape = self.take(f"<{rank}I")
        kind, length = self.take("<BI")
        raw = self.data[self.at : self.at + length]
        self.at += length
        return name, np.frombuffer(raw, self.KINDS[kind]).reshape(shape)

    def __getitem__(self, name):
        return self.tensors[name]

    def layers(self, side):
        count = 0
        while f"{side}/layer_{count}/ffn/linear_0/weight" in self.tensors:
            count += 1
        return count


def renamed(model):
    """Yields (ggml name, tensor); the fused projections are taken apart."""

    def linear(target, source, rows=slice(None), bias=True):
        yield f"{target}.weight", model[f"{source}/weight"][rows]
        if bias:
            yield f"{target}.bias", model[f"{source}/bias"][rows]

    def norm(target, source):
        yield f"{target}.weight", model[f"{source}/gamma"]
        yield f"{target}.bias", model[f"{source}/beta"]

    def self_attention(target, source):
        width = model[f"{source}/linear_0/weight"].shape[1]
        query, key, value = (slice(i * width, (i + 1) * width) for i in range(3))
        yield from linear(f"{target}.query", f"{source}/linear_0", query)
        # Whisper's keys have no bias; CTranslate2 fills its place with zeros.
        yield from linear(f"{target}.key", f"{source}/linear_0", key, bias=False)
        yield from linear(f"{target}.value", f"{source}/linear_0", value)
        yield from linear(f"{target}.out", f"{source}/linear_1")

    def cross_attention(target, source):
        width = model[f"{source}/linear_0/weight"].shape[1]
        yield from linear(f"{target}.query", f"{source}/linear_0")
        yield from linear(f"{target}.key", f"{source}/linear_1", slice(0, width), bias=False)
        yield from linear(f"{target}.value", f"{source}/linear_1", slice(width, None))
        yield from linear(f"{target}.out", f"{source}/linear_2")

    def block(side, number, attend_across):
        target, source = f"{side}.blocks.{number}", f"{side}/layer_{number}"
        yield from self_attention(f"{target}.attn", f"{source}/self_attention")
        yield from norm(f"{target}.attn_ln", f"{source}/self_attention/layer_norm")
        if attend_across:
            yield from cross_attention(f"{target}.cross_attn", f"{source}/attention")
            yield from norm(f"{target}.cross_attn_ln", f"{source}/attention/layer_norm")
        yield from linear(f"{target}.mlp.0", f"{source}/ffn/linear_0")
        yield from linear(f"{target}.mlp.2", f"{source}/ffn/linear_1")
        yield from norm(f"{target}.mlp_ln", f"{source}/ffn/layer_norm")

    yield "encoder.positional_embedding", model["encoder/position_encodings/encodings"]
    for number in (1, 2):
        convolution = f"encoder/conv{number}"
        yield f"encoder.conv{number}.weight", model[f"{convolution}/weight"]
        yield f"encoder.conv{number}.bias", model[f"{convolution}/bias"].reshape(-1, 1)
    for number in range(model.layers("encoder")):
        yield from block("encoder", number, attend_across=False)
    yield from norm("encoder.ln_post", "encoder/layer_norm")
    yield "decoder.positional_embedding", model["decoder/position_encodings/encodings"]
    yield "decoder.token_embedding.weight", model["decoder/embeddings/weight"]
    for number in range(model.layers("decoder")):
        yield from block("decoder", number, attend_across=True)
    yield from norm("decoder.ln", "decoder/layer_norm")


def mel_filters(count):
    """Triangles on Slaney's mel scale, each of unit area: what Whisper was trained with."""
    linear_step, knee_hz, octaves = 200.0 / 3, 1000.0, np.log(6.4) / 27.0
    knee = knee_hz / linear_step
    top = knee + np.log(MEL_TOP_HZ / knee_hz) / octaves
    mels = np.linspace(0.0, top, count + 2)
    corners = np.where(mels < knee, mels * linear_step, knee_hz * np.exp((mels - knee) * octaves))
    bins = np.arange(MEL_FFT // 2 + 1) * (MEL_RATE / MEL_FFT)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rise, fall = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return (np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (high - low)).astype("<f4")


def tokens(folder, count):
    """The first `count` tokens as bytes; GPT-2 writes each byte as a printable character."""
    listed, lines = folder / "vocabulary.json", folder / "vocabulary.txt"
    if lines.exists():
        words = lines.read_text(encoding="utf-8").split("\n")
    else:
        words = json.loads(listed.read_text(encoding="utf-8"))
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in plain]
    byte_of = {chr(byte): byte for byte in plain}
    byte_of |= {chr(256 + index): byte for index, byte in enumerate(moved)}
    return [bytes(byte_of[character] for character in word) for word in words[:count]]


def q8_0(matrix):
    blocks = matrix.astype("<f4").reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    factor = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    # Halves go away from zero, as C's roundf has it.
    rounded = np.trunc(blocks * factor + np.copysign(np.float32(0.5), blocks)).astype("i1")
    packed = [scale.astype("<f2").view("u1").reshape(-1, 2), rounded.view("u1")]
    return np.concatenate(packed, axis=1).tobytes()


def encoded(name, tensor):
    """The kind and the bytes of one tensor."""
    if tensor.ndim < 2 or tensor.shape[-1] == 1 or name.endswith("positional_embedding"):
        return F32, np.ascontiguousarray(tensor, "<f4").tobytes()
    if tensor.ndim == 2:
        return Q8_0, q8_0(np.ascontiguousarray(tensor))
    return F16, np.ascontiguousarray(tensor, "<f2").tobytes()


def main(folder, output):
    folder, model = Path(folder), Tensors(Path(folder) / "model.bin")
    vocabulary, width = model["decoder/embeddings/weight"].shape
    heads = int(model["encoder/num_heads"])
    audio_length = model["encoder/position_encodings/encodings"].shape[0]
    text_length = model["decoder/position_encodings/encodings"].shape[0]
    mels = model["encoder/conv1/weight"].shape[1]
    header = [GGML_MAGIC, vocabulary]
    header += [audio_length, width, heads, model.layers("encoder")]
    header += [text_length, width, heads, model.layers("decoder")]
    header += [mels, FILE_TYPE_Q8_0]
    # Special tokens follow from their numbers; English models also list the end of text.
    words = tokens(folder, 50257)
    if vocabulary >= MULTILINGUAL_VOCABULARY:
        words.pop()
    with open(output, "wb") as file:
        file.write(struct.pack("<12i", *header))
        filters = mel_filters(mels)
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        file.write(struct.pack("<i", len(words)))
        for word in words:
            file.write(struct.pack("<i", len(word)) + word)
        for name, tensor in renamed(model):
            kind, raw = encoded(name, tensor)
            file.write(struct.pack("<3i", tensor.ndim, len(name), kind))
            file.write(struct.pack(f"<{tensor.ndim}i", *reversed(tensor.shape)))
            file.write(name.encode() + raw)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
