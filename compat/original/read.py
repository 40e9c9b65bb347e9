#!/usr/bin/env python3
"""Reads a data directory of NATS Streaming as strictly as can be, and prints what is in it.

    read.py DIR [KEY]     one JSON document; whatever the format does not allow of a clean stop ends it with a sentence

Written from the specification of the format alone (3.2 to 3.12); shares no code with what writes such directories.
"""

import hashlib
import json
import os
import struct
import sys
import zlib

import ciphers

SLICE_BYTES = 64 << 20
CODES = {ciphers.AES, ciphers.CHACHA}


def fail(path, offset, problem):
    sys.exit(f"{path} at byte {offset}: {problem}")


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data, path, offset):
    """Numbers with their values, in ascending order and never the default, as a proto3 encoder writes them."""
    found, at, previous = {}, 0, 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number <= previous:
            fail(path, offset, f"field {number} after field {previous}")
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            length, at = varint(data, at)
            value, at = bytes(data[at : at + length]), at + length
            if len(value) != length:
                fail(path, offset, "a field ends behind the record")
        else:
            fail(path, offset, f"wire type {wire}")
        if not value:
            fail(path, offset, f"field {number} is written and empty")
        found[number], previous = value, number
    return found


def signed(value, bits=64):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def records(path, typed):
    data = open(path, "rb").read()
    if data[:4] != b"\1\0\0\0":
        fail(path, 0, "no version")
    at = 4
    while at < len(data):
        if len(data) - at < 8:
            fail(path, at, "half a head")
        head, crc = struct.unpack_from("<II", data, at)
        kind, size = (head >> 24, head & 0xFFFFFF) if typed else (0, head)
        payload = data[at + 8 : at + 8 + size]
        if size == 0 or len(payload) != size:
            fail(path, at, "an incomplete record")
        if zlib.crc32(payload) != crc:
            fail(path, at, "a wrong checksum")
        yield at, kind, payload
        at += 8 + size


def text(found, number):
    return found.get(number, b"").decode("utf-8", "surrogateescape")


def server(root):
    path = os.path.join(root, "server.dat")
    found = list(records(path, False))
    if len(found) != 1:
        fail(path, 4, f"{len(found)} records")
    info = fields(found[0][2], path, 4)
    names = "cluster_id discovery publish subscribe unsubscribe close sub_close acks node_id".split()
    return {name: text(info, number) for number, name in enumerate(names, 1)}


def clients(root):
    path, live = os.path.join(root, "clients.dat"), {}
    for offset, kind, payload in records(path, True):
        found = fields(payload, path, offset)
        if kind == 2:
            live.pop(text(found, 1), None)
            continue
        if kind != 1:
            fail(path, offset, f"a record of kind {kind}")
        live[text(found, 1)] = {
            "id": text(found, 1),
            "heartbeat_inbox": text(found, 2),
            "connection_id": text(found, 3),
            "protocol": signed(found.get(4, 0), 32),
            "ping_interval": signed(found.get(5, 0), 32),
            "ping_max_out": signed(found.get(6, 0), 32),
        }
    return [live[name] for name in sorted(live, key=lambda name: name.encode("utf-8", "surrogateescape"))]


def opened(key, name, data, path, offset):
    """The payload in clear. Both ciphers add a stream: adding it again takes it away."""
    key, nonce = ciphers.channel_key(key, name), data[1:13]
    plain = ciphers.seal(data[0], key, nonce, data[13:-16])[13:-16]
    if ciphers.seal(data[0], key, nonce, plain) != data:
        fail(path, offset, "a payload that the key does not open")
    return plain


def messages(folder, name, key):
    """All slices in the order of their numbers; the index has to name each record of the data where it is."""
    numbers = sorted(int(file[5:-4]) for file in os.listdir(folder) if file.startswith("msgs.") and file.endswith(".dat"))
    digest, last, first, count, counted, times = hashlib.sha256(), 0, 0, 0, 0, []
    for number in numbers:
        path = os.path.join(folder, f"msgs.{number}.dat")
        index = open(path[:-4] + ".idx", "rb").read()
        if index[:4] != b"\1\0\0\0" or len(index) % 32 != 4:
            fail(path, 0, "an odd index")
        place, slice_bytes = 4, 0
        for offset, _, payload in records(path, False):
            found = fields(payload, path, offset)
            sequence, timestamp = found.get(1, 0), signed(found.get(5, 0))
            entry = index[place : place + 32]
            if len(entry) < 32 or zlib.crc32(entry[:28]) != struct.unpack("<I", entry[28:])[0]:
                fail(path, offset, "no good entry of the index")
            if struct.unpack("<QqqI", entry[:28]) != (sequence, offset, timestamp, len(payload)):
                fail(path, offset, "another record in the index")
            if text(found, 2).encode("utf-8", "surrogateescape") != os.fsencode(name):
                fail(path, offset, "another channel's message")
            if last and sequence != last + 1:
                fail(path, offset, f"sequence {sequence} after {last}")
            if slice_bytes >= SLICE_BYTES:
                fail(path, offset, "the slice was full")
            reply, data = found.get(3, b""), found.get(4, b"")
            if key and data:
                if data[0] not in CODES:
                    fail(path, offset, "a payload that is not encrypted")
                data = opened(key, name, data, path, offset)
            digest.update(struct.pack("<QqII", sequence, timestamp, len(reply), len(data)) + reply + data)
            first, last, count = first or sequence, sequence, count + 1
            counted, slice_bytes = counted + len(payload) + 40, slice_bytes + len(payload) + 40
            place += 32
        if place != len(index):
            fail(path, 0, "entries of the index without a record")
    return {
        "slices": len(numbers),
        "messages": count,
        "bytes": counted,
        "first_sequence": first,
        "last_sequence": last,
        "digest": digest.hexdigest(),
    }


def subscriptions(folder):
    path, live, pending = os.path.join(folder, "subs.dat"), {}, {}
    for offset, kind, payload in records(path, True):
        found = fields(payload, path, offset)
        number, sequence = found.get(1, 0), found.get(2, 0)
        if kind in (1, 2):
            if kind == 1 and number in live:
                fail(path, offset, f"subscription {number} again")
            live[number] = {
                "id": number,
                "client_id": text(found, 2),
                "queue_group": text(found, 3),
                "inbox": text(found, 4),
                "ack_inbox": text(found, 5),
                "max_in_flight": signed(found.get(6, 0), 32),
                "ack_wait_seconds": signed(found.get(7, 0), 32),
                "durable_name": text(found, 8),
                "last_sent": found.get(9, 0),
                "is_durable": bool(found.get(10)),
                "is_closed": bool(found.get(11)),
            }
            pending.setdefault(number, set())
        elif kind == 3:
            live.pop(number, None)
        elif kind in (4, 5) and number in live:
            (pending[number].discard if kind == 4 else pending[number].add)(sequence)
            if kind == 5:
                live[number]["last_sent"] = max(live[number]["last_sent"], sequence)
        else:
            fail(path, offset, f"a record of kind {kind} of subscription {number}")
    return [{**live[number], "pending": sorted(pending[number])} for number in sorted(live)]


def main(root, key):
    found = {"server": server(root), "clients": clients(root), "channels": {}}
    for entry in sorted(os.scandir(os.fsencode(root)), key=lambda entry: entry.name):
        if entry.is_dir():
            name, folder = os.fsdecode(entry.name), os.fsdecode(entry.path)
            found["channels"][name] = {**messages(folder, name, key), "subscriptions": subscriptions(folder)}
        elif entry.name not in (b"server.dat", b"clients.dat"):
            fail(os.fsdecode(entry.path), 0, "a file that nothing explains")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].encode() if len(sys.argv) > 2 else None)
