"""How NATS Streaming lays out its files: encoders only, so that nothing here can agree with a reader by accident.

The standard library alone. Numbers in comments are sections of the specification of the file store.
"""

import struct

IEEE = 0xEDB88320
HEADER = struct.pack("<I", 1)

_tables = {}


def crc32(data, polynomial=IEEE):
    """Reflected CRC-32 with any polynomial in reversed form (3.4)."""
    table = _tables.get(polynomial)
    if table is None:
        table = []
        for value in range(256):
            for _ in range(8):
                value = (value >> 1) ^ polynomial if value & 1 else value >> 1
            table.append(value)
        _tables[polynomial] = table
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc64_xz(data):
    """CRC-64/XZ, as in a snapshot's meta.json (6.11)."""
    crc = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xC96C5795D7870F42 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFFFFFFFFFF


def varint(value):
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    """A varint field; the default is left out, as proto3 does."""
    return varint(field << 3) + varint(int(value)) if value else b""


def blob(field, value):
    """A length-delimited field; the default is left out."""
    if isinstance(value, str):
        value = value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value if value else b""


def nested(field, value):
    """An embedded message: present even when it is empty."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def packed(field, values):
    return blob(field, b"".join(varint(value) for value in values))


def server_info(info):
    names = ("cluster_id", "discovery", "publish", "subscribe", "unsubscribe", "close", "sub_close", "acks", "node_id")
    return b"".join(blob(index + 1, info[name]) for index, name in enumerate(names))


def client_info(client):
    return (
        blob(1, client["id"])
        + blob(2, client["heartbeat_inbox"])
        + blob(3, client["connection_id"])
        + number(4, client["protocol"])
        + number(5, client["ping_interval"])
        + number(6, client["ping_max_out"])
    )


def sub_state(sub):
    return (
        number(1, sub["id"])
        + blob(2, sub["client_id"])
        + blob(3, sub["queue_group"])
        + blob(4, sub["inbox"])
        + blob(5, sub["ack_inbox"])
        + number(6, sub["max_in_flight"])
        + number(7, sub["ack_wait_seconds"])
        + blob(8, sub["durable_name"])
        + number(9, sub["last_sent"])
        + number(10, sub["is_durable"])
        + number(11, sub["is_closed"])
    )


def sub_update(sub_id, sequence):
    return number(1, sub_id) + number(2, sequence)


def message(sequence, subject, reply, data, timestamp):
    return number(1, sequence) + blob(2, subject) + blob(3, reply) + blob(4, data) + number(5, timestamp)


def record(payload, polynomial=IEEE, kind=0):
    """An untyped record, or a typed one for kinds above zero (3.3)."""
    return struct.pack("<II", kind << 24 | len(payload), crc32(payload, polynomial)) + payload


def index_entry(sequence, offset, timestamp, size, polynomial=IEEE):
    entry = struct.pack("<QqqI", sequence, offset, timestamp, size)
    return entry + struct.pack("<I", crc32(entry, polynomial))
