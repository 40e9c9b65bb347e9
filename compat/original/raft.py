"""The Raft directory of a cluster's member: bbolt pages, msgpack entries, snapshots (6.4, 6.9, 6.11). Encoders only."""

import base64
import json
import struct

from format import blob, client_info, crc64_xz, nested, number, packed, sub_state

PAGE = 4096
BRANCH, LEAF, META, FREELIST = 1, 2, 4, 16


def fnv64a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def page_header(identifier, flags, count, overflow=0):
    return struct.pack("<QHHI", identifier, flags, count, overflow)


def leaf_body(elements):
    """[(flags, key, value)] as they stand behind a page's header."""
    table, data = b"", b""
    for position, (flags, key, value) in enumerate(elements):
        distance = 16 * (len(elements) - position) + len(data)
        table += struct.pack("<IIII", flags, distance, len(key), len(value))
        data += key + value
    return table + data


def branch_body(children):
    """[(first key, page)]."""
    table, data = b"", b""
    for position, (key, page) in enumerate(children):
        distance = 16 * (len(children) - position) + len(data)
        table += struct.pack("<IIQ", distance, len(key), page)
        data += key
    return table + data


class Bolt:
    """A database file, written once, page by page."""

    def __init__(self):
        self.pages = {}
        self.next_page = 3

    def add_page(self, flags, count, body):
        identifier = self.next_page
        overflow = (16 + len(body) + PAGE - 1) // PAGE - 1
        self.next_page += overflow + 1
        content = page_header(identifier, flags, count, overflow) + body
        self.pages[identifier] = content + bytes((overflow + 1) * PAGE - len(content))
        return identifier

    def tree(self, pairs):
        """The root page of a bucket with these keys and values."""
        leaves, current, size = [], [], 16
        for key, value in pairs:
            need = 16 + len(key) + len(value)
            if current and size + need > PAGE:
                leaves.append(current)
                current, size = [], 16
            current.append((0, key, value))
            size += need
        leaves.append(current)
        level = [(leaf[0][1] if leaf else b"", self.add_page(LEAF, len(leaf), leaf_body(leaf))) for leaf in leaves]
        while len(level) > 1:
            groups = [level[i : i + 50] for i in range(0, len(level), 50)]
            level = [(group[0][0], self.add_page(BRANCH, len(group), branch_body(group))) for group in groups]
        return level[0][1]

    def bucket(self, pairs):
        """A bucket's value: within its parent when it is small."""
        inline = leaf_body([(0, key, value) for key, value in pairs])
        if len(inline) < PAGE // 4 - 32:
            return struct.pack("<QQ", 0, 0) + page_header(0, LEAF, len(pairs)) + inline
        return struct.pack("<QQ", self.tree(pairs), 0)

    def finish(self, buckets, transaction=7):
        elements = [(1, name, value) for name, value in sorted(buckets.items())]
        root = self.add_page(LEAF, len(elements), leaf_body(elements))
        head = b""
        for identifier, number_ in ((0, transaction - 1), (1, transaction)):
            # The older of the two leads nowhere that still counts.
            meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 0xFFFFFFFFFFFFFFFF, self.next_page, number_)
            meta = page_header(identifier, META, 0) + meta + struct.pack("<Q", fnv64a(meta))
            head += meta + bytes(PAGE - len(meta))
        head += page_header(2, FREELIST, 0) + bytes(PAGE - 16)
        return head + b"".join(self.pages[identifier] for identifier in sorted(self.pages))


def pack_number(value):
    if value < 0x80:
        return bytes([value])
    if value < 1 << 8:
        return b"\xcc" + struct.pack(">B", value)
    if value < 1 << 16:
        return b"\xcd" + struct.pack(">H", value)
    if value < 1 << 32:
        return b"\xce" + struct.pack(">I", value)
    return b"\xcf" + struct.pack(">Q", value)


def pack_raw(value):
    if len(value) < 32:
        return bytes([0xA0 | len(value)]) + value
    if len(value) < 1 << 16:
        return b"\xda" + struct.pack(">H", len(value)) + value
    return b"\xdb" + struct.pack(">I", len(value)) + value


def log_entry(index, term, kind, data, style):
    """An entry as the library's versions write it: style 0 without the last fields, 1 and 2 with a time."""
    fields = [(b"Index", pack_number(index)), (b"Term", pack_number(term)), (b"Type", pack_number(kind))]
    fields.append((b"Data", pack_raw(data) if data is not None else b"\xc0"))
    if style > 0:
        fields.append((b"Extensions", b"\xc0"))
        fields.append((b"AppendedAt", b"\xc0" if style == 1 else pack_raw(b"\x01" + bytes(14))))
    return bytes([0x80 | len(fields)]) + b"".join(pack_raw(name) + value for name, value in fields)


# Operations (6.4).


def publish(messages, channel_id):
    return nested(2, b"".join(nested(1, one) for one in messages)) + number(10, channel_id)


def subscribe(request, ack_inbox, sub_id, channel_id):
    body = (
        blob(1, request["client_id"])
        + blob(2, request["channel"])
        + blob(3, request["queue"])
        + blob(4, request["inbox"])
        + number(5, request["max_in_flight"])
        + number(6, request["ack_wait_seconds"])
        + blob(7, request["durable"])
        + number(10, 3)
        + number(11, request["start"])
    )
    add = nested(1, body) + blob(2, ack_inbox) + number(3, sub_id)
    return number(1, 1) + nested(3, add) + number(10, channel_id)


def leave(kind, client_id, channel, inbox):
    return number(1, kind) + nested(4, blob(1, client_id) + blob(2, channel) + blob(3, inbox))


def sent_and_acked(channel, ack_inbox, sent, acked):
    return number(1, 4) + nested(5, blob(1, channel) + blob(2, ack_inbox) + packed(3, sent) + packed(4, acked))


def connect(client):
    request = (
        blob(1, client["id"])
        + blob(2, client["heartbeat_inbox"])
        + number(3, client["protocol"])
        + blob(4, client["connection_id"])
        + number(5, client["ping_interval"])
        + number(6, client["ping_max_out"])
    )
    return number(1, 6) + nested(7, nested(1, request))


def disconnect(client_id):
    return number(1, 7) + nested(8, blob(1, client_id))


def delete_channel(channel, channel_id):
    return number(1, 8) + blob(9, channel) + number(10, channel_id)


# Snapshots (6.9, 6.11).


def snapshot_state(clients, channels):
    """`channels`: [(name, first, last, next sub ID, channel ID, [(sub, pending)])]."""
    body = b"".join(nested(1, client_info(client)) for client in clients)
    for name, first, last, next_sub, channel_id, subs in channels:
        one = blob(1, name) + number(2, first) + number(3, last)
        one += b"".join(nested(4, nested(1, sub_state(sub)) + packed(2, sorted(pending))) for sub, pending in subs)
        one += number(5, next_sub) + number(6, channel_id)
        body += nested(2, one)
    body += blob(3, bytes(max(0, 1800 - len(body))))
    return struct.pack("<I", len(body)) + body


def snapshot_meta(name, index, term, state):
    return json.dumps(
        {
            "Version": 1,
            "ID": name,
            "Index": index,
            "Term": term,
            "Peers": "",
            "Configuration": {"Servers": [{"Suffrage": 0, "ID": "node", "Address": "c.node.c"}]},
            "ConfigurationIndex": 1,
            "Size": len(state),
            "CRC": base64.b64encode(struct.pack(">Q", crc64_xz(state))).decode(),
        }
    ).encode()
