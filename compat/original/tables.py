#!/usr/bin/env python3
"""Makes databases of NATS Streaming: a script of SQL, and what must be found when it was run.

    tables.py DIALECT OUT FIRST LAST     OUT/SEED/store.sql and OUT/SEED/expected.json; DIALECT is postgres or mysql
    tables.py DIALECT --schema           the empty tables
    tables.py DIALECT --many ROWS BYTES  one channel with so many messages of so many bytes

Written from the specification of the schema alone (4.2, 4.4); shares no code with the reader that it tests.
"""

import json
import os
import random
import sys

import ciphers
import format
from subscriptions import ranges

NAMES = "foo bar orders orders.eu orders.eu.new A été before-seaway journal x.y.z.1 clients".split()
NOW = 1_700_000_000_000_000_000

POSTGRES = """
CREATE TABLE ServerInfo (uniquerow INTEGER DEFAULT 1, id VARCHAR(1024), proto BYTEA, version INTEGER, PRIMARY KEY (uniquerow));
CREATE TABLE Clients (id VARCHAR(1024), hbinbox TEXT, proto BYTEA, PRIMARY KEY (id));
CREATE TABLE Channels (id INTEGER, name VARCHAR(1024) NOT NULL, maxseq BIGINT DEFAULT 0, maxmsgs INTEGER DEFAULT 0,
  maxbytes BIGINT DEFAULT 0, maxage BIGINT DEFAULT 0, deleted BOOL DEFAULT FALSE, PRIMARY KEY (id));
CREATE INDEX Idx_ChannelsName ON Channels (name);
CREATE TABLE Messages (id INTEGER, seq BIGINT, timestamp BIGINT, size INTEGER, data BYTEA, CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq));
CREATE INDEX Idx_MsgsTimestamp ON Messages (timestamp);
CREATE TABLE Subscriptions (id INTEGER, subid BIGINT, lastsent BIGINT DEFAULT 0, proto BYTEA, deleted BOOL DEFAULT FALSE,
  CONSTRAINT PK_SubKey PRIMARY KEY (id, subid));
CREATE TABLE SubsPending (subid BIGINT, row BIGINT, seq BIGINT DEFAULT 0, lastsent BIGINT DEFAULT 0, pending BYTEA, acks BYTEA,
  CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, row));
CREATE INDEX Idx_SubsPendingSeq ON SubsPending (seq);
CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT DEFAULT 0);
"""

MYSQL = """
CREATE TABLE ServerInfo (uniquerow INT DEFAULT 1, id VARCHAR(1024), proto BLOB, version INTEGER, PRIMARY KEY (uniquerow));
CREATE TABLE Clients (id VARCHAR(1024), hbinbox TEXT, proto BLOB, PRIMARY KEY (id(256)));
CREATE TABLE Channels (id INTEGER, name VARCHAR(1024) NOT NULL, maxseq BIGINT UNSIGNED DEFAULT 0, maxmsgs INTEGER DEFAULT 0,
  maxbytes BIGINT DEFAULT 0, maxage BIGINT DEFAULT 0, deleted BOOL DEFAULT FALSE, PRIMARY KEY (id), INDEX Idx_ChannelsName (name(256)));
CREATE TABLE Messages (id INTEGER, seq BIGINT UNSIGNED, timestamp BIGINT, size INTEGER, data BLOB,
  CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq), INDEX Idx_MsgsTimestamp (timestamp));
CREATE TABLE Subscriptions (id INTEGER, subid BIGINT UNSIGNED, lastsent BIGINT UNSIGNED DEFAULT 0, proto BLOB, deleted BOOL DEFAULT FALSE,
  CONSTRAINT PK_SubKey PRIMARY KEY (id, subid));
CREATE TABLE SubsPending (subid BIGINT UNSIGNED, `row` BIGINT UNSIGNED, seq BIGINT UNSIGNED DEFAULT 0, lastsent BIGINT UNSIGNED DEFAULT 0,
  pending BLOB, acks BLOB, CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, `row`), INDEX Idx_SubsPendingSeq (seq));
CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT UNSIGNED DEFAULT 0);
"""


class Database:
    def __init__(self, dialect, seed):
        self.dialect, self.random = dialect, random.Random(seed)
        self.rows = []  # statements, which are run in no certain order
        self.messages = {}
        self.next_sub, self.next_channel = 1, 1

    # Values.

    def blob(self, data):
        if data is None:
            return "NULL"
        return f"'\\x{data.hex()}'" if self.dialect == "postgres" else f"X'{data.hex()}'"

    def text(self, value):
        return "'" + value.replace("'", "''") + "'"

    def flag(self, value):
        return "TRUE" if value else "FALSE"

    def insert(self, table, *values):
        self.rows.append(f"INSERT INTO {table} VALUES ({', '.join(str(value) for value in values)});")

    # Everything.

    def generate(self):
        random = self.random
        # How the server ran: with caches, without, or first so and then so.
        self.mode = random.choice(["caching", "plain", "mixed"])
        self.key = random.choice([None, None, b"mykey"])
        server = self.server()
        clients = self.clients()
        found = []
        for name in random.sample(NAMES, random.randrange(0, 7)):
            if random.random() < 0.15:
                # One that was deleted, whose rows nobody removed.
                self.channel(name, clients, is_deleted=True)
            found.append(self.channel(name, clients, is_deleted=False))
        found.sort(key=lambda channel: channel["name"].encode())
        expected = {
            "key": self.key.decode() if self.key else None,
            "mode": self.mode,
            "report": {"server": server, "clients": clients, "channels": found},
            "messages": self.messages,
        }
        random.shuffle(self.rows)
        return "\n".join(self.rows) + "\n", expected

    def server(self):
        random = self.random
        cluster = random.choice(["test-cluster", "c1"])
        last = random.choice([cluster, cluster, "Qk3x"])
        info = {
            "cluster_id": cluster,
            "discovery": random.choice(["_STAN.discover", "_MY.find"]) + "." + cluster,
            "publish": "_STAN.pub." + last,
            "subscribe": "_STAN.sub." + last,
            "unsubscribe": "_STAN.unsub." + last,
            "close": "_STAN.close." + last,
            "sub_close": random.choice(["", "_STAN.subclose." + last]),
            "acks": "_STAN.ack." + last,
            "node_id": "",
        }
        self.insert("ServerInfo", 1, self.text(cluster), self.blob(format.server_info(info)), 1)
        return info

    def clients(self):
        found = []
        for number in range(self.random.choice([0, 1, 3])):
            client = {
                "id": f"client-{number}",
                "heartbeat_inbox": f"_INBOX.hb.{number}",
                "connection_id": f"conn{number}",
                "protocol": 1,
                "ping_interval": 5,
                "ping_max_out": 3,
            }
            if self.random.random() < 0.3:
                # Of before 0.10: no more than ID and inbox.
                client.update(connection_id="", protocol=0, ping_interval=0, ping_max_out=0)
                proto = self.random.choice([None, b""])
            else:
                proto = format.client_info(client)
            self.insert("Clients", self.text(client["id"]), self.text(client["heartbeat_inbox"]), self.blob(proto))
            found.append(client)
        return found

    def channel(self, name, clients, is_deleted):
        random = self.random
        identifier = self.next_channel
        self.next_channel += random.choice([1, 1, 4])
        last = random.choice([0, 0, 1, 9, 70])
        first = 1 if random.random() < 0.6 else random.randrange(1, last + 2)
        fate = random.choice("whole whole whole gaps gaps drained ahead".split())
        sequences = list(range(first, last + 1))
        if fate == "gaps":
            sequences = [sequence for sequence in sequences if random.random() < 0.8]
        if fate == "drained":
            sequences = []
        stored = [self.message(identifier, name, sequence, is_deleted) for sequence in sequences]
        present = [message["sequence"] for message in stored]
        top = max(present, default=0)
        # Written when nothing is left, and never taken back (4.2).
        maxseq = last if not present and last > 0 else random.choice([0, max(0, top - 1)])
        if fate == "ahead" and present:
            maxseq = top + random.randrange(1, 4)
        subs = [self.subscription(identifier, name, clients, present, last) for _ in range(random.choice([0, 0, 2, 6]))]
        known = max([maxseq, top] + [sub["last_sent"] for sub in subs if sub["status"] != "deleted"])
        self.insert("Channels", identifier, self.text(name), maxseq, 1000000, 1024000000, 0, self.flag(is_deleted))
        if is_deleted:
            return None
        live = sorted((sub for sub in subs if sub["status"] != "deleted"), key=lambda sub: sub["id"])
        if present and known > top:
            # Messages are missing at the end: empty ones, with the time of the last that is there.
            stored.append({"sequence": known, "time": stored[-1]["time"], "reply": "", "data": ""})
        self.messages[name] = stored
        return {
            "name": name,
            "messages": len(stored),
            "first_sequence": stored[0]["sequence"] if stored else known + 1 if known else 0,
            "last_sequence": known,
            "subscriptions": live,
        }

    def message(self, channel, name, sequence, is_deleted):
        random = self.random
        time = NOW + sequence * 1000 + random.choice([0, 0, 0, -5000])
        reply = random.choice(["", "", "_INBOX.reply"])
        data = random.choice([b"", b"hello", bytes([3, 0, 255, 254]), b"x" * 300]) + str(sequence).encode()
        if random.random() < 0.05:
            data = b""
        stored = data
        if self.key and data and random.random() < 0.8:
            cipher = random.choice([ciphers.AES, ciphers.CHACHA])
            stored = ciphers.seal(cipher, ciphers.channel_key(self.key, name), random.randbytes(4) + sequence.to_bytes(8, "big"), data)
        proto = format.message(sequence, name, reply, stored, time)
        self.insert("Messages", channel, sequence, time, len(proto), self.blob(proto))
        return {"sequence": sequence, "time": time, "reply": reply, "data": data.hex()}

    def subscription(self, channel, name, clients, present, last):
        random = self.random
        sub_id = self.next_sub
        self.next_sub += random.choice([1, 1, 3])
        kind = random.choice(["plain", "queue", "durable", "durable", "durable_queue", "durable_queue"])
        client = random.choice([client["id"] for client in clients] + ["gone"])
        if kind == "durable_queue" and random.random() < 0.3:
            client = ""
        is_closed = kind == "durable" and random.random() < 0.4
        written = random.randrange(0, last + 1)
        state = {
            # The column counts; old bugs are not of interest here.
            "id": sub_id,
            "client_id": client,
            "queue_group": {"queue": "workers", "durable_queue": "dur:workers"}.get(kind, ""),
            "inbox": f"_INBOX.{sub_id}.x",
            "ack_inbox": f"_INBOX.ack.{sub_id}",
            "max_in_flight": random.choice([1, 16, 1024]),
            "ack_wait_seconds": random.choice([1, 30]),
            "durable_name": f"dur{sub_id}" if kind == "durable" else "",
            "last_sent": written,
            "is_durable": kind in ("durable", "durable_queue"),
            "is_closed": is_closed,
        }
        column = random.randrange(0, last + 1)
        is_deleted = random.random() < 0.1
        self.insert("Subscriptions", channel, sub_id, column, self.blob(format.sub_state(state)), self.flag(is_deleted))
        sent, pending = self.pending(sub_id, present, last)
        online = client in [client["id"] for client in clients]
        if kind == "durable":
            status = "online" if online and not is_closed else "offline"
        elif kind == "durable_queue":
            status = "offline" if client == "" else "online" if online else "ghost"
        else:
            status = "online" if online else "orphan"
        return {
            **state,
            "kind": kind,
            "status": "deleted" if is_deleted else status,
            "last_sent": max(written, column, sent),
            "pending": len(pending),
            "pending_ranges": ranges(pending),
        }

    def pending(self, sub_id, present, last):
        """Rows of what was sent and not acknowledged; the highest sequence in them, and what is left."""
        random = self.random
        row, sent, pending = 1, 0, set()
        if not last:
            return 0, pending
        plain_first = self.mode == "plain" or (self.mode == "mixed" and random.random() < 0.7)
        if plain_first:
            for sequence in random.sample(range(1, last + 1), random.randrange(0, min(last, 6) + 1)):
                sent = max(sent, sequence)
                pending.add(sequence)
                self.pending_row(sub_id, row, sequence, 0, None, None)
                row += random.choice([1, 1, 2])
        if self.mode != "plain":
            for _ in range(random.randrange(0, 4)):
                new = random.sample(range(1, last + 1), random.randrange(0, min(last, 8) + 1))
                acks = [sequence for sequence in sorted(pending | set(new)) if random.random() < 0.4]
                random.shuffle(acks)
                highest = max(new, default=0)
                sent = max(sent, highest)
                pending = (pending | set(new)) - set(acks)
                self.pending_row(sub_id, row, 0, highest, new or None, acks or None)
                row += 1
        first = min(present, default=last + 1)
        return sent, {sequence for sequence in pending if sequence >= first}

    def pending_row(self, sub_id, row, sequence, last_sent, pending, acks):
        def array(values):
            return self.blob(json.dumps(values, separators=(",", ":")).encode() if values else None)

        self.insert("SubsPending", sub_id, row, sequence, last_sent, array(pending), array(acks))


def schema(dialect):
    return POSTGRES if dialect == "postgres" else MYSQL


def many(dialect, rows, size):
    database = Database(dialect, 1)
    print(schema(dialect))
    database.server()
    database.insert("Channels", 1, "'many'", 0, 0, 0, 0, "FALSE")
    print("\n".join(database.rows))
    print("BEGIN;")
    for begin in range(1, rows + 1, 500):
        values = []
        for sequence in range(begin, min(begin + 500, rows + 1)):
            proto = format.message(sequence, "many", "", b"x" * size, NOW + sequence)
            values.append(f"(1, {sequence}, {NOW + sequence}, {len(proto)}, {database.blob(proto)})")
        print(f"INSERT INTO Messages VALUES {', '.join(values)};")
    print("COMMIT;")


def main(words):
    dialect = words[0]
    if words[1] == "--schema":
        return print(schema(dialect))
    if words[1] == "--many":
        return many(dialect, int(words[2]), int(words[3]))
    root, first, last = words[1], int(words[2]), int(words[3])
    for seed in range(first, last + 1):
        script, expected = Database(dialect, seed).generate()
        folder = os.path.join(root, str(seed))
        os.makedirs(folder)
        with open(os.path.join(folder, "store.sql"), "w") as file:
            file.write(script)
        with open(os.path.join(folder, "expected.json"), "w") as file:
            json.dump(expected, file)


if __name__ == "__main__":
    main(sys.argv[1:])
